"""The client of an Executor's calls."""

"""Runs calls of an Executor: their driver, its engine, and the messages between driver and client."""

"""A project's Python environment on its way to the cluster: how it is declared, and what of it a release carries."""

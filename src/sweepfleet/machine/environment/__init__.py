"""The Python environment of a release: what of it travels, what it is called, how the head builds it."""

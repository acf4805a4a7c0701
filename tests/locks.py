"""A project that needs nothing, and its uv.lock."""

SETTINGS = '[project]\nname = "theirs"\nversion = "0"\nrequires-python = ">=3.11"\n'
LOCK = """\
version = 1
requires-python = ">=3.11"

[[package]]
name = "theirs"
version = "0"
source = { virtual = "." }
"""
PROJECT = {"pyproject.toml": SETTINGS, "uv.lock": LOCK}

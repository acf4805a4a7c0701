"""The environment of the head's console and notebook: Jupyter alone, by a lock of this package."""

from __future__ import annotations

import hashlib
import platform
from pathlib import Path

# Written by: uv export --frozen --only-group jupyter --no-emit-local --no-header --no-annotate
LOCK = Path(__file__).with_name("jupyter.txt")
# In the environment: JupyterLab asks a new user whether it may fetch news; here it asks for nothing from outside.
OVERRIDES = Path("share", "jupyter", "lab", "settings", "overrides.json")
SETTINGS = {"@jupyterlab/apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": False}}


def identity(lock: str) -> str:
    """The name of the environment that a lock makes on this machine."""
    return hashlib.sha256(f"{lock}\0{platform.python_version()}\0{platform.machine()}".encode()).hexdigest()

"""Guards that hold for every test."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

FORBIDDEN = ("AWS_", "INVOKE_")


@pytest.fixture(autouse=True)
def no_credentials(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """No test sees the developer's own account or settings: none can cost money, and all see the same."""
    for name in list(os.environ):
        if name.startswith(FORBIDDEN):
            monkeypatch.delenv(name)
    nowhere = Path(tmp_path_factory.getbasetemp(), "no-such-file")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(nowhere))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(nowhere))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.fixture(autouse=True)
def same_imports(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test puts on the module path, or imports from its own folder, is gone when it ends."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        file = getattr(sys.modules[name], "__file__", None)
        if file and "pytest-" in file:
            del sys.modules[name]

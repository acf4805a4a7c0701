"""A page put together: markup, style, data and scripts in one file, and a policy that lets nothing else run."""

from __future__ import annotations

import base64
import hashlib
import importlib.resources
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from string import Template
from typing import Any

from sweep.report import markup

PLOTLY = ("plotly", "package_data/plotly.min.js")
SCRIPTS_HERE = "<!--scripts-->"


def write_page(path: Path, pieces: Iterable[str]) -> Path:
    """Write a page whole or not at all, and return its path. Raises OSError when it cannot be written."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with beside.open("wb") as file:
            file.writelines(piece.encode("utf-8", "replace") for piece in pieces)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
    return path


def assemble(
    *, title: str, body: str, data: Mapping[str, Any], scripts: Sequence[str], libraries: Sequence[tuple[str, str]]
) -> list[str]:
    """The page in pieces, most of it the chart library. A script runs only if its hash is in the policy.

    `scripts` are files beside this one, run as one; `libraries` are (package, file) and run before it.
    """
    ours = "".join(_read("sweep.report", name) for name in scripts)
    texts = [*(_read(*library) for library in libraries), f'(() => {{\n"use strict";\n{ours}}})();\n']
    hashes = " ".join(f"'sha256-{_digest(script)}'" for script in texts)
    policy = f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; img-src data: blob:"
    page = Template(_read("sweep.report", "page.html")).substitute(
        policy=policy,
        title=markup.text(title),
        style=_read("sweep.report", "page.css"),
        body=body,
        data=embed(data),
        scripts=SCRIPTS_HERE,
    )
    before, _, after = page.rpartition(SCRIPTS_HERE)
    return [before, *(f"<script>{script}</script>\n" for script in texts), after]


def embed(data: Any) -> str:
    """JSON that cannot leave its script element, whatever texts are in it."""
    raw = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return raw.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _read(package: str, name: str) -> str:
    raw = importlib.resources.files(package).joinpath(name).read_text(encoding="utf-8")
    return raw.replace("\r\n", "\n")  # as a browser reads it, or the hash is another


def _digest(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()

"""A page put together: markup, style, data and scripts in one file, and a policy that lets nothing else run."""

from __future__ import annotations

import base64
import functools
import hashlib
import importlib.resources
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from string import Template
from typing import Any, NamedTuple

from sweepfleet.run.report import markup

PLOTLY = ("plotly", "package_data/plotly.min.js")
SCRIPTS_HERE = "<!--scripts-->"


class Script(NamedTuple):
    """A script of the page, and the hash by which the page's policy knows it."""

    content: bytes
    digest: str


def write_page(path: Path, pieces: Iterable[str | bytes]) -> Path:
    """Write a page atomically, and return its path. Raises OSError when it cannot be written."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with beside.open("wb") as file:
            file.writelines(
                piece if isinstance(piece, bytes) else piece.encode("utf-8", "replace") for piece in pieces
            )
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
    return path


def assemble(
    *, title: str, body: str, data: Mapping[str, Any], scripts: Sequence[str], libraries: Sequence[tuple[str, str]]
) -> list[str | bytes]:
    """The page in pieces, most of it the chart library. A script runs only if its hash is in the policy.

    `scripts` are files beside this one, run as one; `libraries` are (package, file) and run before it.
    """
    ours = "".join(_read("sweepfleet.run.report", name) for name in scripts)
    loaded = [
        *(library(*each) for each in libraries),
        _script(f'(() => {{\n"use strict";\n{ours}}})();\n'.encode()),
    ]
    hashes = " ".join(f"'sha256-{script.digest}'" for script in loaded)
    policy = f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; img-src data: blob:"
    page = Template(_read("sweepfleet.run.report", "page.html")).substitute(
        policy=policy,
        title=markup.text(title),
        style=_read("sweepfleet.run.report", "page.css"),
        body=body,
        data=embed(data),
        scripts=SCRIPTS_HERE,
    )
    before, _, after = page.rpartition(SCRIPTS_HERE)
    return [
        before,
        *(piece for script in loaded for piece in ("<script>", script.content, "</script>\n")),
        after,
    ]


def embed(data: Any) -> str:
    """JSON that cannot leave its script element, whatever texts are in it."""
    raw = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return raw.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _read(package: str, name: str) -> str:
    return _bytes(package, name).decode()


def _bytes(package: str, name: str) -> bytes:
    raw = importlib.resources.files(package).joinpath(name).read_bytes()
    return raw.replace(b"\r\n", b"\n").replace(b"\r", b"\n")  # as a browser reads it, or the hash is another


def _script(content: bytes) -> Script:
    return Script(content, base64.b64encode(hashlib.sha256(content).digest()).decode())


@functools.cache
def library(package: str, name: str) -> Script:
    """A library's script. It has some megabytes: who has time before may read it then."""
    return _script(_bytes(package, name))

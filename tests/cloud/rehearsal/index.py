"""A package index as PEP 503 has it, from a folder of wheels."""

from __future__ import annotations

import hashlib
import html
import re
from functools import cache
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from tests.cloud.rehearsal.web import Handler, Server

PORT = 8080


def normalized(name: str) -> str:
    """A project's name as an index spells it: https://peps.python.org/pep-0503/#normalized-names."""
    return re.sub(r"[-_.]+", "-", name).lower()


def page(folders: list[Path], project: str) -> str | None:
    """A project's page; None when no file of it is there."""
    files = {
        file.name: file
        for folder in folders
        for file in sorted(folder.iterdir())
        if normalized(file.name.split("-")[0]) == project and file.name.endswith((".whl", ".tar.gz"))
    }
    links = [
        f'<a href="/files/{quote(name)}#sha256={_sha256(file, file.stat().st_mtime_ns)}">{html.escape(name)}</a><br>'
        for name, file in files.items()
    ]
    return "<!DOCTYPE html>\n<html><body>\n" + "\n".join(links) + "\n</body></html>\n" if links else None


class PackageIndex(Server):
    """Serves `/simple/<project>/` and `/files/<name>` from the folders that it is given."""

    def __init__(self, address: str) -> None:
        super().__init__((address, PORT), _Handler)
        self.folders: list[Path] = []

    @property
    def url(self) -> str:
        """What a machine is told: the simple API's root."""
        return f"http://{self.server_name}:{PORT}/simple/"


class _Handler(Handler):
    server: PackageIndex

    def do_GET(self) -> None:  # noqa: N802 - http.server's names
        path = unquote(urlsplit(self.path).path)
        match path.strip("/").split("/"):
            case ["simple", project] if path.endswith("/"):
                text = page(self.server.folders, normalized(project))
                if text is not None:
                    return self.answer(200, text, Content_Type="text/html")
            case ["simple", project]:
                return self.answer(301, Location=f"{path}/")
            case ["files", name]:
                for folder in self.server.folders:
                    if (folder / name).is_file():
                        return self.answer(200, (folder / name).read_bytes(), Content_Type="application/octet-stream")
        return self.answer(404, f"nothing at {path}\n")

    do_HEAD = do_GET  # noqa: N815


@cache
def _sha256(file: Path, changed_ns: int) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()

"""The instance metadata service, version 2: a tree of texts for each instance, behind tokens.

Paths and forms: https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/ec2-instance-metadata.html
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias
from urllib.parse import unquote, urlsplit

from tests.cloud.rehearsal.web import Handler, Server

PORT = 80
LONGEST_TTL_S = 21600
TTL_HEADER, TOKEN_HEADER = "X-aws-ec2-metadata-token-ttl-seconds", "X-aws-ec2-metadata-token"

Leaf: TypeAlias = "str | bytes | None"
Tree: TypeAlias = "dict[str, Tree | Leaf]"  # None is something that is not there now


@dataclass
class Metadata:
    """What one instance's service does: its tree, made anew for every request, and how it misbehaves."""

    tree: Callable[[], Tree]
    tokens_required: Callable[[], bool]
    enabled: Callable[[], bool] = lambda: True
    fault: int = 0  # the status that every request gets, such as 503; 0 for none
    delay_s: float = 0
    tokens: dict[str, float] = field(default_factory=dict)  # token to when it ends
    refused: int = 0  # requests without a valid token


def found(tree: Tree | Leaf, path: list[str]) -> Leaf:
    """The text at a path; a folder is its names, one a line; None when there is nothing.

    A key pair's folder is listed as `0=name` and asked for as `0`.
    """
    for name in path:
        if not isinstance(tree, dict):
            return None
        tree = next((each for key, each in tree.items() if name in {key, key.split("=")[0]}), None)
    if isinstance(tree, dict):
        names = (
            name + "/" * (isinstance(each, dict) and "=" not in name)
            for name, each in tree.items()
            if each is not None
        )
        return "\n".join(names)
    return tree


class MetadataService(Server):
    """One service for all machines; who asks is known by the address that a request comes from."""

    def __init__(self, address: str) -> None:
        super().__init__((address, PORT), _Handler)
        self.instances: dict[str, Metadata] = {}  # by private address
        self.lock = threading.Lock()


class _Handler(Handler):
    server: MetadataService

    def _metadata(self) -> Metadata | None:
        """Whose request this is, once its faults have been played; None when it has been answered."""
        one = self.server.instances.get(self.client_address[0])
        if one is None:
            self.answer(404, "no instance has this address\n")
            return None
        time.sleep(one.delay_s)
        if one.fault or not one.enabled():
            self.answer(one.fault or 403)
            return None
        return one

    def do_PUT(self) -> None:  # noqa: N802 - http.server's names
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        one = self._metadata()
        if one is None:
            return
        ttl = self.headers.get(TTL_HEADER, "")
        if not self.path.startswith("/latest/api/token"):
            self.answer(405)
        elif "X-Forwarded-For" in self.headers:
            self.answer(403)
        elif not ttl.isdecimal() or not 1 <= int(ttl) <= LONGEST_TTL_S:
            self.answer(400)
        else:
            token = secrets.token_urlsafe(40)
            with self.server.lock:
                one.tokens[token] = time.monotonic() + int(ttl)
            self.answer(200, token, **{TTL_HEADER: ttl})

    def do_GET(self) -> None:  # noqa: N802
        one = self._metadata()
        if one is None:
            return
        token = self.headers.get(TOKEN_HEADER)
        if (token is None and one.tokens_required()) or (
            token is not None and one.tokens.get(token, 0) < time.monotonic()
        ):
            one.refused += 1
            self.answer(401)
            return
        path = [unquote(part) for part in urlsplit(self.path).path.split("/") if part]
        if not path:
            self.answer(200, "latest\n")
            return
        text = found(one.tree(), path[1:])  # every version is the latest
        if text is None:
            self.answer(404)
        else:
            self.answer(200, text)

    do_HEAD = do_GET  # noqa: N815

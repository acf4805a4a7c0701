"""Running things in a cloud's namespaces from outside of them."""

from __future__ import annotations

import ctypes
import http.client
import io
import os
import socket
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3
from botocore.awsrequest import AWSResponse, HeadersDict
from botocore.config import Config
from urllib3 import HTTPResponse

from tests.processes import ends_with_test

CLONE_NEWNET = 0x40000000
TIMEOUT_S = 120
ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "LANG": "C.UTF-8",
}
Done = subprocess.CompletedProcess[str]


@contextmanager
def network(namespace: Path) -> Iterator[None]:
    """This thread is in a network namespace; a socket that it makes stays there."""
    libc = ctypes.CDLL(None, use_errno=True)
    with Path("/proc/thread-self/ns/net").open() as home, namespace.open() as there:
        _enter(libc, there.fileno())
        try:
            yield
        finally:
            _enter(libc, home.fileno())


def _enter(libc: ctypes.CDLL, descriptor: int) -> None:
    if libc.setns(descriptor, CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


class _Connection(http.client.HTTPConnection):
    def __init__(self, namespace: Path, address: tuple[str, int]) -> None:
        super().__init__(*address, timeout=TIMEOUT_S)
        self._namespace = namespace

    def connect(self) -> None:
        with network(self._namespace):
            self.sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self.sock.settimeout(TIMEOUT_S)
        self.sock.connect((self.host, self.port))


def client(service: str, *, region: str, endpoint: str, namespace: Path) -> Any:
    """A boto3 client of this process whose requests go to an endpoint inside; nothing listens outside for it."""

    def send(request: Any, **_: Any) -> AWSResponse:
        url = urlsplit(request.url)
        connection = _Connection(namespace, (url.hostname or "", url.port or 80))
        headers = {name: _text(value) for name, value in request.headers.items() if name.lower() != "expect"}
        body = request.body.read() if hasattr(request.body, "read") else request.body
        connection.request(request.method, url.path + (f"?{url.query}" if url.query else ""), body, headers)
        answer = connection.getresponse()
        data = answer.read()
        connection.close()
        raw = HTTPResponse(io.BytesIO(data), preload_content=False)
        return AWSResponse(request.url, answer.status, HeadersDict(answer.headers.items()), raw)

    made = boto3.client(
        service,
        region_name=region,
        endpoint_url=endpoint,
        aws_access_key_id="testing",
        aws_secret_access_key="testing",  # noqa: S106 - moto asks for one and checks none
        config=Config(request_checksum_calculation="when_required", s3={"addressing_style": "path"}),
    )
    made.meta.events.register("before-send", send)
    return made


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


@dataclass(frozen=True)
class Runner:
    """Starts programs somewhere: `prefix` is the command that goes there."""

    prefix: tuple[str, ...]
    env: Mapping[str, str]

    def popen(self, command: Sequence[str | Path], **options: Any) -> subprocess.Popen[Any]:
        """Start a program; it is killed when the thread or the test that started it ends. Options: `Popen`'s."""
        env = {**self.env, **options.pop("env", {})}
        words = ["setpriv", "--pdeathsig", "KILL", "--", *self.prefix, *map(str, command)]
        return ends_with_test(subprocess.Popen(words, env=env, **options))

    def run(
        self,
        command: Sequence[str | Path],
        *,
        text: str = "",
        check: bool = True,
        timeout_s: float = TIMEOUT_S,
        **options: Any,
    ) -> Done:
        """Run a program to its end, `text` on its standard input; AssertionError with all it said when it fails."""
        options = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
        with self.popen(command, text=True, **options) as process:
            try:
                out, err = process.communicate(text, timeout=timeout_s)
            except subprocess.TimeoutExpired as error:
                process.kill()
                raise AssertionError(
                    f"{list(map(str, command))} took more than {timeout_s} s: {error.output!r}"
                ) from error
        done = subprocess.CompletedProcess(list(map(str, command)), process.returncode, out, err)
        assert done.returncode == 0 or not check, f"{done.args} ended with {done.returncode}\n{out}\n{err}"
        return done

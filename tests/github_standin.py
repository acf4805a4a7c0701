"""A stand-in for GitHub's REST API on this machine: it keeps comments and issues as GitHub does."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

BOT = "github-actions[bot]"
REPOSITORY = "ada/sweeps"
TOKEN = "a-token"  # noqa: S105 - of nobody


@dataclass
class Fault:
    """How the next requests of a method and path go wrong."""

    method: str
    path: str  # a part of it
    status: int
    times: int = 1
    done_first: bool = False  # the request is done, and its answer lost
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class StandIn:
    """What it holds, what it was asked, and what is to go wrong."""

    url: str = ""
    user: str | None = None  # whose token it is; None: a job's own, which may not ask
    comments: dict[int, list[dict[str, Any]]] = field(default_factory=dict)  # by issue or pull request
    issues: list[dict[str, Any]] = field(default_factory=list)
    asked: list[tuple[str, str]] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    refused: str = ""  # a part of the paths that the token may not write to
    elsewhere: str = ""  # where the next page is said to be
    numbers: int = 0

    def number(self) -> int:
        self.numbers += 1
        return self.numbers

    @property
    def me(self) -> str:
        return self.user or BOT

    def comment(self, issue: int, body: str, *, by: str) -> dict[str, Any]:
        one = {"id": self.number(), "body": body, "user": {"login": by}, "html_url": f"https://h/{issue}"}
        self.comments.setdefault(issue, []).append(one)
        return one

    def issue(self, body: str, *, by: str, labels: list[str], title: str = "t", **more: Any) -> dict[str, Any]:
        number = self.number()
        one = {
            "number": number,
            "title": title,
            "body": body,
            "state": "open",
            "user": {"login": by},
            "labels": [{"name": name} for name in labels],
            "html_url": f"https://h/issues/{number}",
            **more,
        }
        self.issues.append(one)
        return one

    def open_issues(self) -> list[dict[str, Any]]:
        return [one for one in self.issues if one["state"] == "open"]


@contextmanager
def github(user: str | None = None) -> Iterator[StandIn]:
    """Serve on a free port of this machine until the block ends."""
    held = StandIn(user=user)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._serve()

        def do_POST(self) -> None:
            self._serve()

        def do_PATCH(self) -> None:
            self._serve()

        def _serve(self) -> None:
            parts = urlsplit(self.path)
            held.asked.append((self.command, parts.path))
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length)) if length else {}
            if self.headers.get("Authorization") != f"Bearer {TOKEN}":
                return self._say(401, {"message": "Bad credentials"})
            if self.command != "GET" and held.refused and held.refused in parts.path:
                return self._say(403, {"message": "Resource not accessible by integration"})
            for fault in held.faults:
                if fault.times and fault.method == self.command and fault.path in parts.path:
                    fault.times -= 1
                    if fault.done_first:
                        self._answer(parts.path, parse_qs(parts.query), body)
                    return self._say(fault.status, {"message": "a test asked for it"}, fault.headers)
            return self._say(*self._answer(parts.path, parse_qs(parts.query), body))

        def _answer(self, path: str, query: dict[str, list[str]], body: dict[str, Any]) -> Any:
            if path == "/user":
                if held.user is None:
                    return 403, {"message": "Resource not accessible by integration"}
                return 200, {"login": held.user}
            prefix = f"/repos/{REPOSITORY}"
            if not path.startswith(prefix):
                return 404, {"message": "Not Found"}
            return self._of_repository(path.removeprefix(prefix), query, body)

        def _of_repository(self, path: str, query: dict[str, list[str]], body: dict[str, Any]) -> Any:
            if found := re.fullmatch(r"/issues/(\d+)/comments", path):
                if self.command == "POST":
                    return 201, held.comment(int(found[1]), body["body"], by=held.me)
                return self._page(held.comments.get(int(found[1]), []), query)
            if found := re.fullmatch(r"/issues/comments/(\d+)", path):
                one = next(c for all_ in held.comments.values() for c in all_ if c["id"] == int(found[1]))
                one.update(body)
                return 200, one
            if path == "/issues":
                if self.command == "POST":
                    return 201, held.issue(body["body"], by=held.me, labels=body["labels"], title=body["title"])
                return self._page(list(self._matching(query)), query)
            if found := re.fullmatch(r"/issues/(\d+)", path):
                one = next(each for each in held.issues if each["number"] == int(found[1]))
                one.update(body)
                return 200, one
            return 404, {"message": "Not Found"}

        def _matching(self, query: dict[str, list[str]]) -> Iterator[dict[str, Any]]:
            for one in reversed(held.issues):  # the newest first, as GitHub has them
                labels = {label["name"] for label in one["labels"]}
                asked = {key: values[0] for key, values in query.items()}
                if (
                    one["state"] == asked.get("state", "open")
                    and set(filter(None, asked.get("labels", "").split(","))) <= labels
                    and asked.get("creator", one["user"]["login"]) == one["user"]["login"]
                ):
                    yield one

        def _page(self, found: list[Any], query: dict[str, list[str]]) -> Any:
            size, page = int(query.get("per_page", ["30"])[0]), int(query.get("page", ["1"])[0])
            headers = {}
            if page * size < len(found):
                more = {key: values[0] for key, values in query.items()} | {"page": page + 1}
                base = held.elsewhere or held.url
                here = urlsplit(self.path).path
                headers["Link"] = f'<{base}{here}?{urlencode(more)}>; rel="next", <{base}/last>; rel="last"'
            return 200, found[(page - 1) * size : page * size], headers

        def _say(self, status: int, body: Any, headers: dict[str, str] | None = None) -> None:
            data = json.dumps(body).encode()
            self.send_response(status)
            for key, value in (headers or {}).items():
                self.send_header(key, value)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        held.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield held
        finally:
            server.shutdown()
            thread.join()

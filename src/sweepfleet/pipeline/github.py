"""GitHub, as the pipeline speaks to it: one comment a pull request, one issue a matter. Nothing else knows GitHub.

What is ours is found by a hidden marker at its beginning, written by ourselves: anybody can write the marker's text.
https://docs.github.com/en/rest/issues
"""

from __future__ import annotations

import json
import re
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.client import HTTPException, HTTPMessage
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote, urlencode

from sweepfleet.fleet.errors import ClusterError
from sweepfleet.grid.errors import UsageError

T = TypeVar("T")

API = "https://api.github.com"
VERSION = "2022-11-28"
ACTIONS_BOT = "github-actions[bot]"  # who a job's own token is; it may not ask for its name
PAGE = 100  # GitHub's most
LONGEST = 65_536  # characters of a comment's or an issue's text
TIMEOUT_S = 30
PAUSES_S = (1.0, 4.0, 15.0)  # before each further try
PASSING = frozenset({429, 500, 502, 503, 504})
CUT = "\n\n… cut here: the job's summary has all of it.\n"


class _PassingError(Exception):
    """GitHub cannot now; the same again may do."""

    def __init__(self, said: str, *, pause_s: float | None = None) -> None:
        self.pause_s = pause_s
        super().__init__(said)


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A redirect would take the token to another host."""

    def redirect_request(self, *_: Any) -> None:
        return None


@dataclass(frozen=True, slots=True)
class Answer:
    """What GitHub answered."""

    body: Any
    headers: HTTPMessage


@dataclass(frozen=True, slots=True)
class GitHub:
    """One repository.

    Every method raises ClusterError when GitHub refuses or does not answer; the message says what is missing.
    """

    repository: str  # owner/name
    token: str = field(repr=False)
    api: str = API
    pause: Callable[[float], None] = time.sleep

    def upsert_comment(self, number: int, *, marker: str, body: str) -> str:
        """Have exactly one comment of ours with this marker under a pull request or issue; its address."""
        return self._until_done(lambda: self._comment(number, marker=marker, body=body))

    def upsert_issue(self, *, label: str, marker: str, title: str, body: str) -> str:
        """Have exactly one open issue of ours with this label and marker; its address."""
        return self._until_done(lambda: self._issue(label=label, marker=marker, title=title, body=body))

    def close_issue(self, *, label: str, marker: str, why: str) -> str | None:
        """Close our issue with this label and marker, and say why; its address. None: there is none."""
        return self._until_done(lambda: self._close(label=label, marker=marker, why=why))

    def _comment(self, number: int, *, marker: str, body: str) -> str:
        text = {"body": marked(marker, body)}
        me = self._me()
        for one in self._pages(f"/issues/{number}/comments"):
            if _is_ours(one, marker, me):
                if one["body"] != text["body"]:
                    self._ask("PATCH", f"/issues/comments/{int(one['id'])}", text)
                return str(one["html_url"])
        return str(self._ask("POST", f"/issues/{number}/comments", text).body["html_url"])

    def _issue(self, *, label: str, marker: str, title: str, body: str) -> str:
        text = {"title": title, "body": marked(marker, body)}
        found = self._found(label, marker)
        if found is not None:
            if (found["title"], found["body"]) != (text["title"], text["body"]):
                self._ask("PATCH", f"/issues/{int(found['number'])}", text)
            return str(found["html_url"])
        return str(self._ask("POST", "/issues", {**text, "labels": [label]}).body["html_url"])

    def _close(self, *, label: str, marker: str, why: str) -> str | None:
        found = self._found(label, marker)
        if found is None:
            return None
        # First the issue, which is not found again: a second try would say why twice.
        self._ask("PATCH", f"/issues/{int(found['number'])}", {"state": "closed", "state_reason": "completed"})
        self._ask("POST", f"/issues/{int(found['number'])}/comments", {"body": why})
        return str(found["html_url"])

    def _found(self, label: str, marker: str) -> dict[str, Any] | None:
        me = self._me()
        issues = self._pages("/issues", labels=label, state="open", creator=me)
        return next((one for one in issues if "pull_request" not in one and _is_ours(one, marker, me)), None)

    def _me(self) -> str:
        try:
            return str(self._ask("GET", f"{self.api}/user").body["login"])
        except _RefusedError:
            return ACTIONS_BOT

    def _pages(self, path: str, **query: str) -> Iterator[dict[str, Any]]:
        """Everything of a list; GitHub says where the next page is."""
        url = f"{path}?{urlencode({**query, 'per_page': PAGE})}"
        while url:
            answer = self._ask("GET", url)
            yield from answer.body
            url = _next(answer.headers)
            if url and not url.startswith(f"{self.api}/"):
                raise ClusterError(f"GitHub's next page is at {url}, which is not under {self.api}; it is not asked.")

    def _until_done(self, action: Callable[[], T]) -> T:
        """Try again what fails in passing, as a whole: what has come through after all is found, not done twice."""
        for pause_s in (*PAUSES_S, None):
            try:
                return action()
            except _PassingError as error:
                if pause_s is None:
                    raise ClusterError(f"{error} It was tried {len(PAUSES_S) + 1} times.") from None
                self.pause(min(error.pause_s or pause_s, 60.0))
        raise AssertionError("the last turn returns or raises")

    def _ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Answer:
        url = path if path.startswith("http") else f"{self.api}/repos/{quote(self.repository)}{path}"
        headers = {
            "Authorization": f"Bearer {self.token}",
            "Accept": "application/vnd.github+json",
            "X-GitHub-Api-Version": VERSION,
            "User-Agent": "sweepfleet",
        }
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(url, data=data, method=method, headers=headers)  # noqa: S310 - see `api_of`
        doing = f"{method} {url.partition('?')[0]}"
        try:
            with urllib.request.build_opener(_NoRedirects).open(request, timeout=TIMEOUT_S) as answer:
                return Answer(json.load(answer), answer.headers)
        except urllib.error.HTTPError as error:
            raise _refusal(doing, error) from None
        except (OSError, HTTPException, ValueError) as error:
            raise _PassingError(f"GitHub did not answer to {doing}: {error or type(error).__name__}.") from None


class _RefusedError(ClusterError):
    """GitHub understood, and will not."""


def _refusal(doing: str, error: urllib.error.HTTPError) -> Exception:
    """What a status of GitHub's means, with its own words."""
    try:
        said = str(json.load(error)["message"])
    except (ValueError, KeyError, TypeError, OSError):
        said = str(error.reason)
    seen = f"GitHub says {error.code} to {doing}: {said.rstrip('.')}."
    wait = error.headers.get("Retry-After", "")
    limited = error.code == 403 and (wait or error.headers.get("X-RateLimit-Remaining") == "0")
    if error.code in PASSING or limited:
        return _PassingError(seen, pause_s=float(wait) if wait.isdecimal() else None)
    if error.code == 401:
        return _RefusedError(f"{seen} The token in GITHUB_TOKEN is not valid, or has expired.")
    if error.code in (403, 404):
        return _RefusedError(
            f"{seen} The job needs `permissions:` with `pull-requests: write` for a comment and `issues: write` for "
            "an issue; a pull request from a fork has neither."
        )
    return _RefusedError(seen)


def _next(headers: HTTPMessage) -> str:
    found = re.search(r'<([^<>]+)>;\s*rel="next"', headers.get("Link", ""))
    return found[1] if found else ""


def _is_ours(one: Mapping[str, Any], marker: str, me: str) -> bool:
    writer = (one.get("user") or {}).get("login")
    return writer == me and str(one.get("body") or "").startswith(hidden(marker))


def hidden(marker: str) -> str:
    """A marker as it stands in a text, where nobody sees it."""
    if not re.fullmatch(r"[a-z0-9:-]+", marker):
        raise ValueError(f"{marker!r} is not a marker")
    return f"<!-- sweepfleet:{marker} -->"


def marked(marker: str, body: str) -> str:
    """A text under its marker, not longer than GitHub takes it."""
    whole = f"{hidden(marker)}\n{body}"
    return whole if len(whole) <= LONGEST else whole[: LONGEST - len(CUT)] + CUT


def from_environment(environment: Mapping[str, str]) -> GitHub | None:
    """The repository whose job this is; None where this is no job of GitHub's.

    Raises:
        UsageError: the job does not say what is needed.
    """
    repository = environment.get("GITHUB_REPOSITORY", "")
    if not repository:
        return None
    if not re.fullmatch(r"[A-Za-z0-9][\w-]*/(?!\.\.?$)[\w.-]+", repository):
        raise UsageError(f"GITHUB_REPOSITORY is {repository!r}, which is not owner/name.")
    token = environment.get("GITHUB_TOKEN", "")
    if not token:
        raise UsageError("There is no GITHUB_TOKEN. Give it to the step: env: {GITHUB_TOKEN: ${{ github.token }}}")
    return GitHub(repository, token, api=api_of(environment.get("GITHUB_API_URL") or API))


def api_of(url: str) -> str:
    """The API's address, checked: the token goes there.

    Raises:
        UsageError: it is no address of a web service.
    """
    if not re.match(r"https?://", url):
        raise UsageError(f"GITHUB_API_URL is {url!r}, which is not an https:// address.")
    return url.rstrip("/")


def pull_request(environment: Mapping[str, str]) -> int | None:
    """The number of the pull request that this job is for; None when it is for none.

    Raises:
        UsageError: the event's file cannot be read.
    """
    name = environment.get("GITHUB_EVENT_PATH", "")
    if not name:
        return None
    try:
        event = json.loads(Path(name).read_text())
        request = event.get("pull_request")
        return None if request is None else int(request["number"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(f"GITHUB_EVENT_PATH names {name}, which is not an event of GitHub's: {error}") from None


def comment(environment: Mapping[str, str], *, marker: str, body: str) -> str | None:
    """Have the text as a comment on this job's pull request; its address. None where there is none.

    Raises:
        UsageError: the job does not say what is needed.
        ClusterError: GitHub refuses, or does not answer.
    """
    number = pull_request(environment)
    here = from_environment(environment) if number is not None else None
    return None if here is None or number is None else here.upsert_comment(number, marker=marker, body=body)


def summarise(environment: Mapping[str, str], body: str) -> None:
    """Add a text to the job's summary; does nothing where this is no job of GitHub's."""
    if name := environment.get("GITHUB_STEP_SUMMARY"):
        with Path(name).open("a", encoding="utf-8") as summary:
            summary.write(f"{body}\n")


def raise_issue(environment: Mapping[str, str], *, matter: str, stack: str, title: str, body: str) -> str | None:
    """Have one open issue of this matter of a stack; its address. None where this is no job of GitHub's.

    Raises:
        UsageError: the job does not say what is needed.
        ClusterError: GitHub refuses, or does not answer.
    """
    here = from_environment(environment)
    if here is None:
        return None
    return here.upsert_issue(label=matter, marker=f"{matter}:{stack}", title=title, body=body)


def settle(environment: Mapping[str, str], *, matter: str, stack: str) -> str | None:
    """Close the issue of this matter of a stack; its address. None where there is none. Raises as `raise_issue`."""
    here = from_environment(environment)
    if here is None:
        return None
    return here.close_issue(label=matter, marker=f"{matter}:{stack}", why="Resolved.")

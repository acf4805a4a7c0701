"""One comment a pull request, one issue a matter: against a stand-in that keeps them as GitHub does."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from sweepfleet.fleet.errors import ClusterError
from sweepfleet.grid.errors import UsageError
from sweepfleet.pipeline import github
from sweepfleet.pipeline.github import GitHub, hidden, marked
from tests.github_standin import BOT, REPOSITORY, TOKEN, Fault, StandIn
from tests.github_standin import github as serve

MARKER = "preview:dev"
PULL = 7


@pytest.fixture
def held() -> Iterator[StandIn]:
    with serve() as held:
        yield held


def client(held: StandIn, *, token: str = TOKEN) -> GitHub:
    """It does not wait before it tries again; how long it would have is kept."""
    return GitHub(REPOSITORY, token, api=held.url, pause=PAUSES.append)


PAUSES: list[float] = []


@pytest.fixture(autouse=True)
def _no_pauses() -> None:
    PAUSES.clear()


def bodies(held: StandIn) -> list[str]:
    return [one["body"] for one in held.comments.get(PULL, [])]


def writes(held: StandIn) -> list[str]:
    return [method for method, _ in held.asked if method != "GET"]


def test_a_comment_is_made_once_and_then_updated(held: StandIn) -> None:
    here = client(held)
    first = here.upsert_comment(PULL, marker=MARKER, body="one")
    assert here.upsert_comment(PULL, marker=MARKER, body="two") == first
    assert bodies(held) == [f"{hidden(MARKER)}\ntwo"]


def test_the_same_comment_again_writes_nothing(held: StandIn) -> None:
    client(held).upsert_comment(PULL, marker=MARKER, body="one")
    client(held).upsert_comment(PULL, marker=MARKER, body="one")
    assert writes(held) == ["POST"]


def test_each_marker_has_its_own_comment(held: StandIn) -> None:
    client(held).upsert_comment(PULL, marker="preview:dev", body="a")
    client(held).upsert_comment(PULL, marker="preview:prod", body="b")
    assert len(bodies(held)) == 2


def test_ours_is_found_on_the_last_of_many_pages(held: StandIn) -> None:
    for number in range(230):
        held.comment(PULL, f"talk {number}", by="bob")
    held.comment(PULL, marked(MARKER, "old"), by=BOT)
    client(held).upsert_comment(PULL, marker=MARKER, body="new")
    assert len(bodies(held)) == 231
    assert bodies(held)[-1] == marked(MARKER, "new")


def test_the_marker_in_a_comment_of_somebody_elses_is_no_claim(held: StandIn) -> None:
    """Nor is it in the midst of one of ours."""
    held.comment(PULL, marked(MARKER, "mine!"), by="mallory")
    held.comment(PULL, f"see {hidden(MARKER)}", by=BOT)
    client(held).upsert_comment(PULL, marker=MARKER, body="real")
    assert bodies(held) == [marked(MARKER, "mine!"), f"see {hidden(MARKER)}", marked(MARKER, "real")]


def test_a_persons_own_token_has_the_persons_comment() -> None:
    with serve("ada") as held:
        held.comment(PULL, marked(MARKER, "the bot's"), by=BOT)
        client(held).upsert_comment(PULL, marker=MARKER, body="one")
        client(held).upsert_comment(PULL, marker=MARKER, body="two")
        assert bodies(held) == [marked(MARKER, "the bot's"), marked(MARKER, "two")]


def test_a_text_longer_than_github_takes_is_cut_and_says_so(held: StandIn) -> None:
    client(held).upsert_comment(PULL, marker=MARKER, body="x" * 100_000)
    (body,) = bodies(held)
    assert len(body) == 65_536
    assert body.endswith("the job's summary has all of it.\n")


@pytest.mark.parametrize("status", [500, 502, 503, 504, 429])
def test_what_fails_in_passing_is_tried_again(held: StandIn, status: int) -> None:
    held.faults = [Fault("GET", "/comments", status), Fault("POST", "/comments", status)]
    client(held).upsert_comment(PULL, marker=MARKER, body="one")
    assert bodies(held) == [marked(MARKER, "one")]
    assert len(PAUSES) == 2


def test_a_comment_whose_answer_was_lost_is_not_made_twice(held: StandIn) -> None:
    held.faults = [Fault("POST", "/comments", 502, done_first=True)]
    client(held).upsert_comment(PULL, marker=MARKER, body="one")
    assert bodies(held) == [marked(MARKER, "one")]
    assert writes(held) == ["POST"]


def test_github_says_how_long_to_wait(held: StandIn) -> None:
    held.faults = [Fault("POST", "/comments", 403, headers={"Retry-After": "7"})]
    client(held).upsert_comment(PULL, marker=MARKER, body="one")
    assert PAUSES == [7.0]


def test_what_does_not_pass_is_said(held: StandIn) -> None:
    held.faults = [Fault("GET", "/comments", 503, times=99)]
    with pytest.raises(ClusterError, match=r"503 to GET .*It was tried 4 times"):
        client(held).upsert_comment(PULL, marker=MARKER, body="one")
    assert writes(held) == []


def test_a_github_that_is_not_there_is_said() -> None:
    here = GitHub(REPOSITORY, TOKEN, api="http://127.0.0.1:9", pause=PAUSES.append)
    with pytest.raises(ClusterError, match=r"did not answer .*It was tried 4 times"):
        here.upsert_comment(PULL, marker=MARKER, body="one")


def test_a_token_without_the_right_says_which_is_missing(held: StandIn) -> None:
    """And is not tried again."""
    held.refused = "/issues"
    with pytest.raises(ClusterError, match=r"403 .*not accessible by integration.*`pull-requests: write`"):
        client(held).upsert_comment(PULL, marker=MARKER, body="one")
    assert PAUSES == []


def test_a_token_that_is_none_is_said_and_never_shown(held: StandIn) -> None:
    here = client(held, token="wrong-secret")  # noqa: S106
    with pytest.raises(ClusterError, match="GITHUB_TOKEN") as refused:
        here.upsert_comment(PULL, marker=MARKER, body="one")
    assert "wrong-secret" not in f"{refused.value}{here!r}"


def test_a_page_elsewhere_does_not_get_the_token(held: StandIn) -> None:
    with serve() as other:
        held.elsewhere = other.url
        for number in range(101):
            held.comment(PULL, f"talk {number}", by="bob")
        with pytest.raises(ClusterError, match="is not asked"):
            client(held).upsert_comment(PULL, marker=MARKER, body="one")
        assert other.asked == []


def test_a_redirect_is_not_followed(held: StandIn) -> None:
    with serve() as other:
        held.faults = [Fault("GET", "/comments", 301, headers={"Location": f"{other.url}/user"})]
        with pytest.raises(ClusterError, match="301"):
            client(held).upsert_comment(PULL, marker=MARKER, body="one")
        assert other.asked == []


def upsert(held: StandIn, body: str) -> str:
    return client(held).upsert_issue(label="drift", marker="drift:dev", title="Drift", body=body)


def test_an_issue_is_opened_once_updated_and_closed(held: StandIn) -> None:
    first = upsert(held, "one")
    assert upsert(held, "two") == first
    (one,) = held.issues
    assert (one["title"], one["body"], one["labels"]) == ("Drift", marked("drift:dev", "two"), [{"name": "drift"}])
    assert client(held).close_issue(label="drift", marker="drift:dev", why="It is well.") == first
    assert held.open_issues() == []
    assert [said["body"] for said in held.comments[one["number"]]] == ["It is well."]


def test_nothing_to_close_writes_nothing(held: StandIn) -> None:
    assert client(held).close_issue(label="drift", marker="drift:dev", why="It is well.") is None
    assert writes(held) == []


def test_a_matter_that_comes_again_is_a_new_issue(held: StandIn) -> None:
    upsert(held, "one")
    client(held).close_issue(label="drift", marker="drift:dev", why="It is well.")
    upsert(held, "again")
    assert len(held.issues) == 2
    assert len(held.open_issues()) == 1


def test_issues_of_others_stay_as_they_are(held: StandIn) -> None:
    """Of people, of another stack, of another matter; and pull requests, which GitHub lists among issues."""
    held.issue(marked("drift:dev", "mine"), by="mallory", labels=["drift"])
    held.issue(marked("drift:prod", "other"), by=BOT, labels=["drift"])
    held.issue(marked("drift:dev", "other"), by=BOT, labels=["leak"])
    held.issue(marked("drift:dev", "a request"), by=BOT, labels=["drift"], pull_request={})
    before = json.dumps(held.issues)
    upsert(held, "one")
    client(held).close_issue(label="drift", marker="drift:dev", why="It is well.")
    assert json.dumps(held.issues[:4]) == before
    assert held.issues[4]["state"] == "closed"


def test_a_closing_that_fails_in_passing_is_said_once(held: StandIn) -> None:
    upsert(held, "one")
    held.faults = [Fault("PATCH", "/issues/", 502)]
    client(held).close_issue(label="drift", marker="drift:dev", why="It is well.")
    assert held.open_issues() == []
    assert len(held.comments[held.issues[0]["number"]]) == 1


def test_a_marker_is_of_plain_letters_so_that_it_stays_hidden() -> None:
    for bad in ("a --> b", "a b", "", "A"):
        with pytest.raises(ValueError, match="is not a marker"):
            hidden(bad)


def job(held: StandIn, folder: Path, event: dict[str, object]) -> dict[str, str]:
    """A job's environment."""
    file = folder / "event.json"
    file.write_text(json.dumps(event))
    return {
        "GITHUB_REPOSITORY": REPOSITORY,
        "GITHUB_TOKEN": TOKEN,
        "GITHUB_API_URL": f"{held.url}/",
        "GITHUB_EVENT_PATH": str(file),
        "GITHUB_STEP_SUMMARY": str(folder / "summary.md"),
    }


def test_a_job_of_a_pull_request_comments_on_it(held: StandIn, tmp_path: Path) -> None:
    environment = job(held, tmp_path, {"pull_request": {"number": PULL}})
    assert github.comment(environment, marker=MARKER, body="one") == f"https://h/{PULL}"
    assert bodies(held) == [marked(MARKER, "one")]


def test_where_there_is_no_pull_request_nothing_is_asked(held: StandIn, tmp_path: Path) -> None:
    """A push, and a terminal."""
    assert github.comment(job(held, tmp_path, {"ref": "main"}), marker=MARKER, body="one") is None
    assert github.comment({}, marker=MARKER, body="one") is None
    assert github.raise_issue({}, matter="drift", stack="dev", title="t", body="b") is None
    assert github.settle({}, matter="drift", stack="dev") is None
    github.summarise({}, "text")
    assert held.asked == []


def test_a_summary_is_added_to_what_is_there(held: StandIn, tmp_path: Path) -> None:
    environment = job(held, tmp_path, {})
    github.summarise(environment, "one ✅")
    github.summarise(environment, "two")
    assert (tmp_path / "summary.md").read_text(encoding="utf-8") == "one ✅\ntwo\n"


def test_a_job_that_lacks_something_says_what(held: StandIn, tmp_path: Path) -> None:
    whole = job(held, tmp_path, {"pull_request": {"number": PULL}})
    for change, said in {
        ("GITHUB_TOKEN", ""): "GITHUB_TOKEN: ",
        ("GITHUB_REPOSITORY", "../x"): "which is not owner/name",
        ("GITHUB_API_URL", "file:///etc"): "not an https:// address",
        ("GITHUB_EVENT_PATH", str(tmp_path / "none")): "not an event of GitHub's",
    }.items():
        with pytest.raises(UsageError, match=said):
            github.comment(whole | dict([change]), marker=MARKER, body="one")
    (tmp_path / "event.json").write_text('{"pull_request": {"number": "x"}}')
    with pytest.raises(UsageError, match="not an event of GitHub's"):
        github.comment(whole, marker=MARKER, body="one")

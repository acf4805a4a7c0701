"""Sweeps in a pull request: which ones a branch changes, what each would take, what refuses it, and what is said."""

from __future__ import annotations

import json
import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

import sweepfleet.pipeline.trial as trials
from sweepfleet.fleet.money.cost import Budget, beside_usd
from sweepfleet.fleet.money.prices import Prices, _keep
from sweepfleet.fleet.reach.cloud import Cloud
from sweepfleet.grid.errors import UsageError
from sweepfleet.grid.load import load
from sweepfleet.infra.settings import Settings
from sweepfleet.pipeline.estimates import Estimate, Offer, estimate, estimates, sweeps_part
from sweepfleet.pipeline.sweeps import changed, digest, grids
from sweepfleet.pipeline.trial import spread, trial
from tests.cloud.inprocess import PUBLIC_KEY
from tests.cloud.moto import Moto, moto_server
from tests.support import eventually, gone, space

REGION = "us-east-1"
BUCKET = "sweepfleet-dev-0123"
GOLDEN = Path(__file__).parents[1] / "golden" / "sweeps.md"
FIT = """
import os
import time
from pathlib import Path


def fit(a, artifact_dir, here="."):
    (artifact_dir / "model").write_text("x")
    return a


def marks(a, here):
    Path(here, "ran").touch()
    return a


def fails(a):
    raise ValueError(f"{a} is <b>wrong</b>")


def hangs(a, here):
    Path(here, "begun").write_text(str(os.getpid()))
    time.sleep(3600)
"""


def git(folder: Path, *words: str) -> str:
    who = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    who |= {f"GIT_{role}_{key}": "ada@example.org" for role in ("AUTHOR", "COMMITTER") for key in ("NAME", "EMAIL")}
    done = subprocess.run(
        ["git", "-C", str(folder), *words], env=os.environ | who, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"git {words}: {done.stderr}"
    return done.stdout.strip()


def write(root: Path, files: dict[str, str]) -> None:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)


def commit(root: Path) -> None:
    git(root, "add", "--all")
    git(root, "commit", "-m", "change")


def grid(run: str = "fit:fit", **more: Any) -> str:
    """A grid of ten points; JSON is YAML."""
    return json.dumps({"run": run, "parameters": {"a": list(range(10))}} | more)


MAIN = {
    "fit.py": FIT,
    "sweeps/README.md": "what this is\n",
    "sweeps/as-it-was.yaml": grid(),
    "sweeps/deep/edited.yml": grid(name="edited"),
    "sweeps/with-rows.yaml": grid(points="../rows/extra.csv"),
    "sweeps/to-be-renamed.yaml": grid(name="renamed"),
    "sweeps/to-be-deleted.yaml": grid(),
    "sweeps/later.yaml": grid(),
    "rows/extra.csv": "a\n70\n",
}


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bare repository whose `main` went on after the branch `change` had left it."""
    folder = tmp_path_factory.mktemp("git")
    bare, here = folder / "origin.git", folder / "here"
    git(folder, "init", "--bare", "--initial-branch=main", str(bare))
    git(folder, "clone", str(bare), str(here))
    git(here, "checkout", "-b", "main")
    write(here, MAIN)
    commit(here)
    git(here, "checkout", "-b", "change")
    git(here, "mv", "sweeps/to-be-renamed.yaml", "sweeps/newly-named.yaml")
    git(here, "rm", "sweeps/to-be-deleted.yaml")
    write(here, {"sweeps/deep/edited.yml": grid(name="edited", seed=3), "rows/extra.csv": "a\n71\n"})
    write(here, {"sweeps/added.yaml": grid(), "sweeps/README.md": "otherwise\n", "fit.py": FIT + "# changed\n"})
    commit(here)
    git(here, "checkout", "main")
    write(here, {"sweeps/later.yaml": grid(seed=9), "sweeps/others.yaml": grid()})
    commit(here)
    git(here, "push", "origin", "main", "change")
    return bare


@pytest.fixture
def checkout(origin: Path, tmp_path: Path) -> Path:
    """The branch as a pipeline checks it out."""
    git(tmp_path, "clone", "--branch", "change", str(origin), str(tmp_path / "project"))
    return tmp_path / "project"


# What a branch changes


def names(root: Path, found: list[Path]) -> list[str]:
    return [path.relative_to(root).as_posix() for path in found]


def test_every_yaml_file_under_sweeps_is_a_grid(checkout: Path) -> None:
    expected = ["added.yaml", "as-it-was.yaml", "deep/edited.yml", "later.yaml", "newly-named.yaml", "with-rows.yaml"]
    assert names(checkout / "sweeps", grids(checkout)) == expected


def test_a_checkout_without_sweeps_has_none(tmp_path: Path) -> None:
    assert grids(tmp_path) == []


def test_a_branch_changes_what_it_edits_adds_and_renames_and_what_it_gives_other_rows(checkout: Path) -> None:
    """Not what it deletes or leaves, nor what `main` has changed since; another target is no other sweep."""
    found = names(checkout / "sweeps", changed(checkout, "origin/main"))
    assert found == ["added.yaml", "deep/edited.yml", "newly-named.yaml", "with-rows.yaml"]


def test_what_is_not_committed_counts(checkout: Path) -> None:
    write(checkout, {"sweeps/as-it-was.yaml": grid(seed=1), "sweeps/untracked.yaml": grid()})
    found = names(checkout / "sweeps", changed(checkout, "origin/change"))
    assert found == ["as-it-was.yaml", "untracked.yaml"]


@pytest.mark.parametrize(
    "grid_text",
    [
        grid(points="rows.csv", parameters={"a": {"vals": []}}),
        "points: rows.csv\n",
        "points: [{file: rows.csv, types: {a: text}}]\n",
    ],
)
def test_a_grid_that_cannot_be_loaded_is_changed_by_its_rows_all_the_same(checkout: Path, grid_text: str) -> None:
    """Also by rows that are there no more, since they are what it cannot be loaded for."""
    write(checkout, {"sweeps/broken.yaml": grid_text, "sweeps/rows.csv": "a\n1\n", "sweeps/not.yaml": "a: [b"})
    commit(checkout)
    (checkout / "sweeps" / "rows.csv").unlink()
    assert names(checkout / "sweeps", changed(checkout, "HEAD")) == ["broken.yaml"]


@pytest.mark.parametrize("base", ["origin/nothing", "--output=x", "HEAD:fit.py"])
def test_a_base_that_is_no_commit_is_refused(checkout: Path, base: str) -> None:
    with pytest.raises(UsageError, match=r"There is no .* here\. Fetch it"):
        changed(checkout, base)


def test_a_shallow_clone_is_told_to_fetch_the_rest(origin: Path, tmp_path: Path) -> None:
    git(tmp_path, "clone", "--depth=1", "--branch=change", f"file://{origin}", "shallow")
    git(tmp_path / "shallow", "fetch", "--depth=1", "origin", "main:refs/remotes/origin/main")
    with pytest.raises(UsageError, match="fetch --unshallow"):
        changed(tmp_path / "shallow", "origin/main")


# What makes it another sweep


def test_a_digest_is_the_same_in_every_checkout(checkout: Path, origin: Path, tmp_path: Path) -> None:
    git(tmp_path, "clone", "--branch", "change", str(origin), "elsewhere")
    there = tmp_path / "elsewhere"
    assert [digest(load(one)) for one in grids(checkout)] == [digest(load(one)) for one in grids(there)]


def test_a_digest_follows_the_grid_its_rows_and_its_name_and_nothing_else(checkout: Path) -> None:
    rows = checkout / "sweeps" / "with-rows.yaml"
    before = digest(load(rows))
    write(checkout, {"fit.py": "otherwise", "rows/other.csv": "a\n1\n"})
    assert digest(load(rows)) == before
    write(checkout, {"rows/extra.csv": "a\n72\n"})
    of_rows = digest(load(rows))
    write(checkout, {"sweeps/with-rows.yaml": grid(points="../rows/extra.csv", execution={"retries": 1})})
    others = [digest(load(rows)), digest(load(rows, name="other")), digest(load(rows, overrides=["a=1"]))]
    assert len({before, of_rows, *others}) == 5


def test_a_renamed_file_is_the_same_sweep_when_it_says_its_name(checkout: Path) -> None:
    write(checkout, {f"sweeps/{name}.yaml": grid(name="same") for name in "xy"})
    write(checkout, {f"sweeps/{name}.yml": grid() for name in "xy"})
    found = [digest(load(checkout / "sweeps" / name)) for name in ("x.yaml", "y.yaml", "x.yml", "y.yml")]
    assert found[0] == found[1]
    assert found[2] != found[3]


# Points that are tried


@pytest.fixture
def project(tmp_path: Path) -> Path:
    write(tmp_path / "project", {"fit.py": FIT})
    return tmp_path / "project"


def put(root: Path, text: str, name: str = "sweeps/mine.yaml") -> Path:
    write(root, {name: text})
    return root / name


def test_a_few_points_are_really_run_and_nothing_of_them_is_kept(project: Path) -> None:
    sweep = load(put(project, grid(parameters={"a": {"min": 0, "max": 999_999_999}})))
    before = sorted(path for path in project.rglob("*") if "__pycache__" not in path.parts)
    tried = trial(sweep, root=project)
    assert (len(tried.durations_s), tried.failed, tried.at_least, tried.imported) == (trials.POINTS, 0, False, True)
    assert tried.point_s is not None
    assert sorted(path for path in project.rglob("*") if "__pycache__" not in path.parts) == before


def test_what_the_first_point_takes_longer_is_left_out() -> None:
    """A library that is loaded with the first call would else be paid for by every point."""
    assert trials.Trial((9.0, 1.0, 1.0)).point_s == 1.0
    assert trials.Trial((9.0, 1.0)).point_s == 5.0
    assert trials.Trial((9.0, 1.0, 1.0), outlasted_s=4.0).point_s == 2.0
    assert trials.Trial(()).point_s is None


def test_points_that_fail_are_counted_with_the_first_error(project: Path) -> None:
    tried = trial(load(put(project, grid("fit:fails"))), root=project)
    assert (tried.failed, len(tried.durations_s), tried.at_least) == (trials.POINTS, trials.POINTS, True)
    assert tried.error == "ValueError: 0 is <b>wrong</b>"


class Once:
    """A timer whose time is over as soon as a file is there."""

    file: Path

    def __init__(self, _: float, over: Callable[[], None]) -> None:
        self._over = over
        self._thread = threading.Thread(target=self._run)
        self._cancelled = threading.Event()

    def _run(self) -> None:
        while not (self.file.exists() and self.file.read_text()):
            if self._cancelled.wait(0.02):
                return
        self._over()

    def start(self) -> None:
        self._thread.start()

    def cancel(self) -> None:
        self._cancelled.set()
        self._thread.join()


@pytest.fixture
def begun(project: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file whose appearance ends the time for trials."""
    Once.file = project / "begun"
    monkeypatch.setattr(trials.threading, "Timer", Once)
    return Once.file


@pytest.mark.parametrize("execution", [{}, {"infra_retries": 0}])
def test_a_point_that_outlasts_the_limit_is_killed_and_counts_with_what_it_has_had(
    project: Path, begun: Path, execution: dict[str, int]
) -> None:
    text = grid("fit:hangs", parameters={"a": [1, 2], "here": str(project)}, execution=execution)
    tried = trial(load(put(project, text)), root=project)
    assert (tried.durations_s, tried.failed, tried.imported, tried.at_least) == ((), 0, True, True)
    assert tried.point_s == tried.outlasted_s
    assert gone(int(begun.read_text()))


def test_a_target_that_outlasts_the_limit_with_its_import_is_killed(project: Path, begun: Path) -> None:
    text = f"import os, pathlib, time\npathlib.Path({str(begun)!r}).write_text(str(os.getpid()))\ntime.sleep(3600)\n"
    write(project, {"slow.py": text})
    tried = trial(load(put(project, grid("slow:fit"))), root=project)
    assert (tried.imported, tried.point_s, tried.durations_s) == (False, None, ())
    eventually(lambda: gone(int(begun.read_text())), "its end")


def test_points_are_spread_over_the_grid_and_found_where_conditions_leave_them() -> None:
    assert list(spread(space({"a": range(60)}), 6)) == [5, 15, 25, 35, 45, 55]
    assert list(spread(space({"a": range(3)}), 6)) == [0, 1, 2]
    some = space({"a": range(60)}, where=("a % 10 == 9 or a == 0",))
    assert list(spread(some, 6)) == [9, 19, 29, 39, 49, 59]
    assert list(spread(space({"a": range(60)}, where=("a == 0",)), 6)) == [0]


# What a sweep would take


@pytest.fixture(scope="module")
def server() -> Iterator[Moto]:
    with moto_server(REGION) as moto:
        moto.client("s3").create_bucket(Bucket=BUCKET)
        yield moto


@pytest.fixture
def offer(server: Moto, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Offer:
    """A stack with a budget of 25 USD and 10 workers of 4 slots, each worker with its disk at 0.10 USD an hour."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    settings = Settings(
        ssh_cidrs=("203.0.113.7/32",),
        ssh_public_key=PUBLIC_KEY,
        worker_instance_types=("c7i.xlarge",),
        spot_percent=0,
        budget_usd=25,
    )
    cache = tmp_path / "prices.json"
    known = Prices({"c7i.xlarge": 0.1 - beside_usd(settings)}, {}, ("a price list",), "2026-11-24")
    _keep(cache, REGION, ["c7i.xlarge"], known, now=datetime.now(UTC))
    return Offer(settings, Cloud(REGION, endpoint_url=server.endpoint), cache)


def had(offer: Offer, name: str, summary: dict[str, Any]) -> Offer:
    """The same stack with such a run in its bucket."""
    body = json.dumps(summary).encode()
    offer.cloud.client("s3").put_object(Bucket=BUCKET, Key=f"runs/{name}/summary.json", Body=body)
    return replace(offer, bucket=BUCKET)


def test_a_stack_that_is_not_up_has_the_seconds_of_points_that_were_run_here(project: Path, offer: Offer) -> None:
    one = estimate(put(project, grid(name="mine")), root=project, offer=offer)
    assert (one.grid, one.name, one.points, one.exact, one.left) == ("sweeps/mine.yaml", "mine", 10, True, 10)
    assert one.source == "6 points, run here"
    assert not one.at_least
    assert one.usd == pytest.approx(one.point_s / 3600 * 3 * 0.1)  # all ten at once, on three workers
    assert (one.budget, one.problems, one.warnings) == (Budget(25), (), ())


def test_a_run_of_the_same_name_says_how_long_a_point_takes_on_the_cluster(project: Path, offer: Offer) -> None:
    """400 points of an hour are ten hours of 40 slots, which are 100 of a worker. No point is run for it."""
    stack = had(offer, "mine", {"computed": 20, "busy_s": 72_000.0, "done": 20, "failed": 1, "plan": "another"})
    text = grid("fit:marks", replicates=40, parameters={"a": list(range(10)), "here": str(project)})
    one = estimate(put(project, text), root=project, offer=stack)
    assert not (project / "ran").exists()
    assert (one.points, one.left, one.point_s, one.at_least) == (400, 400, 3600, False)
    assert not estimate(put(project, text), root=project, offer=offer).problems
    assert (project / "ran").exists()
    assert one.source == "the mean of 20 points of the stack's run of this name"
    assert (one.hours, one.usd) == (pytest.approx(10), pytest.approx(10))


def test_what_has_ended_of_the_same_points_is_not_run_again(project: Path, offer: Offer) -> None:
    text = grid(replicates=40)
    plan = load(put(project, text)).plan.digest()
    stack = had(offer, "mine", {"computed": 20, "busy_s": 72_000.0, "done": 300, "failed": 20, "plan": plan})
    one = estimate(put(project, text), root=project, offer=stack)
    assert (one.points, one.left, one.hours) == (400, 80, pytest.approx(2))


@pytest.mark.parametrize("summary", [{"computed": 0, "busy_s": 0.0, "done": 10, "failed": 0}, {}, []])
def test_a_run_that_says_nothing_of_the_time_is_as_none(project: Path, offer: Offer, summary: Any) -> None:
    one = estimate(put(project, grid()), root=project, offer=had(offer, "mine", summary))
    assert one.source == "6 points, run here"


def test_a_bucket_without_the_run_is_as_none(project: Path, offer: Offer) -> None:
    for bucket in (BUCKET, "sweepfleet-gone"):
        one = estimate(put(project, grid(name="never-run")), root=project, offer=replace(offer, bucket=bucket))
        assert one.source == "6 points, run here"


DEAR = {"computed": 1, "busy_s": 36_000.0, "done": 1, "failed": 0, "plan": "another"}


@pytest.mark.parametrize(
    ("max_cost", "problems"),
    [
        (12.5, ["It would cost about 100 USD, more than its max_cost of 12.50."]),
        (100.5, []),
        (None, []),
    ],
)
def test_over_its_max_cost_a_sweep_is_refused_and_over_the_budget_it_is_told_to_stop_there(
    project: Path, offer: Offer, max_cost: float | None, problems: list[str]
) -> None:
    execution = {} if max_cost is None else {"max_cost": max_cost}
    text = grid(replicates=40, execution=execution)
    one = estimate(put(project, text), root=project, offer=had(offer, "mine", DEAR))
    assert one.usd == pytest.approx(100)
    assert [said.partition(" Make it smaller")[0] for said in one.problems] == problems
    (warning,) = one.warnings
    assert warning.startswith("It would cost about 100 USD, more than the stack's budgetUsd of 25: it stops there")


def test_a_deadline_that_the_stacks_workers_do_not_meet_is_told(project: Path, offer: Offer) -> None:
    text = grid(replicates=40, execution={"deadline": "1h"})
    one = estimate(put(project, text), root=project, offer=had(offer, "mine", DEAR))
    [late] = [warning for warning in one.warnings if "Deadline" in warning]
    assert late.startswith("Deadline: 1 h, not met: ")
    soon = estimate(put(project, text.replace("1h", "3000h")), root=project, offer=had(offer, "mine", DEAR))
    assert not any("Deadline" in warning for warning in soon.warnings)


def test_a_max_cost_that_nobody_could_hold_refuses_a_sweep(project: Path, offer: Offer) -> None:
    dear = replace(offer, workers=replace(offer.workers, worker_instance_types=("x1e.xlarge",)))
    one = estimate(put(project, grid(execution={"max_cost": 5})), root=project, offer=dear)
    assert one.usd is None
    (problem,) = one.problems
    assert problem.startswith(
        "execution.max_cost is 5 USD, and cannot be enforced: the price of x1e.xlarge is unknown."
    )
    (problem,) = estimate(put(project, grid()), root=project, offer=dear).problems
    assert problem.startswith("The stack's budgetUsd is 25 USD, and cannot be enforced: the price of x1e.xlarge is")


def test_a_cost_that_is_only_known_to_be_more_is_said_so(project: Path, offer: Offer) -> None:
    """Points fail here that may run there: with a max_cost the run stops at it, so that is no reason to refuse it."""
    one = estimate(put(project, grid("fit:fails", execution={"max_cost": 5})), root=project, offer=offer)
    assert (one.at_least, one.refused) == (True, False)
    assert one.warnings == ("6 of 6 points tried here failed: ValueError: 0 is <b>wrong</b>",)


def test_a_max_cost_needs_to_know_what_a_point_takes(project: Path, offer: Offer, begun: Path) -> None:
    write(project, {"slow.py": f"open({str(begun)!r}, 'w').write('x')\nimport time\ntime.sleep(3600)\n"})
    one = estimate(put(project, grid("slow:fit", execution={"max_cost": 5})), root=project, offer=offer)
    assert (one.point_s, one.usd) == (None, None)
    assert one.problems[0].startswith("It has a max_cost of 5 USD, and its cost is unknown.")
    assert one.warnings == ("Its target was not imported in 60 s here, so no point was tried.",)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("run: fit:fit\nparameters: {a: {vals: [1]}}", "parameters.a.vals: `vals` is not a key here"),
        ("", "The file is empty"),
        (grid("fit:other"), "run: fit:other: fit has no 'other'"),
        (grid(parameters={"b": [1]}), "does not take b, which the grid has"),
        (grid(where="a > 10"), "The grid has no points"),
        (grid(points="../../rows.csv"), "points: ../../rows.csv is outside the project"),
    ],
)
def test_a_sweep_that_could_not_run_is_refused_with_the_reason(
    project: Path, offer: Offer, text: str, said: str
) -> None:
    write(project.parent, {"rows.csv": "a\n1\n"})
    one = estimate(put(project, text), root=project, offer=offer)
    assert said in one.problems[0]
    assert one.usd is None


def test_the_code_is_looked_at_though_the_stack_knows_the_time(project: Path, offer: Offer) -> None:
    one = estimate(put(project, grid("fit:gone")), root=project, offer=had(offer, "mine", DEAR))
    assert "fit has no 'gone'" in one.problems[0]


# The pull request


def test_each_sweep_that_a_branch_changes_is_estimated_and_no_other(checkout: Path, offer: Offer) -> None:
    """A name that two grids have is refused: they would be one run."""
    write(checkout, {"sweeps/invalid.yaml": "run: fit\n", "sweeps/newly-named.yaml": grid(name="as-it-was")})
    said: list[str] = []
    found = {one.grid: one for one in estimates(checkout, base="origin/main", offer=offer, say=said.append)}
    assert list(found) == [
        f"sweeps/{name}"
        for name in ("added.yaml", "deep/edited.yml", "invalid.yaml", "newly-named.yaml", "with-rows.yaml")
    ]
    assert said == [f"Estimating {place}" for place in found]
    refused = {place: one.problems for place, one in found.items() if one.refused}
    assert refused.keys() == {"sweeps/invalid.yaml", "sweeps/newly-named.yaml"}
    assert refused["sweeps/newly-named.yaml"] == (
        "sweeps/as-it-was.yaml has the name as-it-was, too. Give each its own name, which is the run's.",
    )
    assert found["sweeps/with-rows.yaml"].points == 11


def told() -> list[Estimate]:
    """One of each kind, with names and errors of somebody who would like to be more than text."""
    fine = Estimate(
        "sweeps/ridge.yaml",
        "ridge",
        points=12_000,
        left=12_000,
        point_s=3.3,
        source="the mean of 200 points of the stack's run of this name",
        hours=0.275,
        usd=4.91,
        budget=Budget(100),
    )
    spent = "It would cost about 491 USD, more than the stack's budgetUsd of 100: it stops there."
    return [
        fine,
        replace(fine, grid="sweeps/again.yaml", name="again", left=300, exact=False, hours=0.0069, usd=0.12),
        replace(fine, grid="sweeps/large.yaml", name="large", usd=491.0, warnings=(spent,)),
        replace(
            fine,
            grid="sweeps/fails.yaml",
            name="fails",
            at_least=True,
            source="6 points, run here",
            warnings=("6 of 6 points tried here failed: KeyError: <img src=x> | @everyone #1",),
        ),
        replace(
            fine,
            grid="sweeps/dear.yaml",
            name="dear",
            budget=Budget(100, 2.5),
            problems=("It would cost about 4.91 USD, more than its max_cost of 2.50.",),
        ),
        Estimate("sweeps/no-price.yaml", "no-price", 10, left=10, point_s=1e-4, hours=1e-7, budget=Budget(100)),
        Estimate(
            "sweeps/@team|`x`<!-- sweepfleet -->\n## hm.yaml",
            problems=("line 2: parameters.a: `vals` is not a key here.\n| a | [x](http://y) |", "a second one"),
        ),
    ]


def test_the_comments_part_is_as_in_the_golden_file() -> None:
    """If it is meant to change: write what `sweeps_part(told())` says into tests/golden/sweeps.md."""
    assert sweeps_part(told()) == GOLDEN.read_text()


def test_a_branch_that_changes_none_says_so() -> None:
    assert sweeps_part([]) == "### Sweeps\n\nNo sweep is changed.\n"


def test_text_of_others_is_text() -> None:
    said = sweeps_part(told())
    for harm in ("<img", "<!--", "@everyone", "@team", "#1", "\n## hm", "](http:"):
        assert harm not in said, harm
    rows = [line for line in said.splitlines() if line.startswith("|")]
    assert {line.replace("\\|", "").count("|") for line in rows} == {9}

"""A cluster from nothing to nothing, in the rehearsal cloud: made, pushed to, swept on, and taken down.

Between, runs are left alone, found again, stopped and taken up: real machines, real SSH, real TLS, as typed.
"""

from __future__ import annotations

import json
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import polars as pl
import pytest

from sweepfleet.fleet.runs.jobs import folder_of
from tests.cloud import engine
from tests.cloud.gates import open_gates
from tests.cloud.rehearsal.cloud import Cloud, until
from tests.cloud.rehearsal.handle import MachineHandle
from tests.cloud.rehearsal.host import why_not
from tests.cloud.rehearsed import STACK, Laptop

pytestmark = [
    pytest.mark.rehearsal,
    pytest.mark.skipif(why_not() is not None, reason=str(why_not())),
]
DIABETES = "examples/diabetes/grid.yaml"
ANY_LANGUAGE = "examples/any_language/grid.yaml"  # awk, which every Debian has
TRIAL = "trial/grid.yaml"
PROGRAM = "trial/twice.yaml"
GATE = "/run/gate-is-open"
GATED = "trial/gated.yaml"  # most points wait until a gate is opened on their machine
POINTS = 60
FILES = {
    "trial/fit.py": """\
import time
from pathlib import Path


def fit(a, artifact_dir, pause_s=0.0):
    time.sleep(pause_s)
    (artifact_dir / "a.txt").write_text(str(a))
    if a < 0:
        raise ValueError("a is negative")
    return {"loss": (a - 3) ** 2}


def gated(a, gate):
    while a >= 20 and not Path(gate).exists():
        time.sleep(0.1)
    return {"loss": (a - 3) ** 2}
""",
    GATED: f"""\
name: gated
run: trial.fit:gated
parameters: {{a: {{range: [0, {POINTS}]}}, gate: {{value: {GATE}}}}}
metric: {{name: loss}}
execution: {{bundle: 1}}
""",
    TRIAL: f"""\
name: trial
run: trial.fit:fit
parameters: {{a: {{range: [0, {POINTS}]}}, pause_s: [0.4]}}
metric: {{name: loss}}
execution: {{bundle: 1}}
""",
}
TWICE = r"""
#include <stdio.h>
#include <stdlib.h>

int main(int count, char **words) {
    char name[4096];
    snprintf(name, sizeof name, "%s/a.txt", getenv("SWEEPFLEET_ARTIFACT_DIR"));
    FILE *file = fopen(name, "w");
    fputs(words[1], file);
    fclose(file);
    printf("{\"twice\": %d}\n", 2 * atoi(words[1]));
    return 0;
}
"""
SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
SSH_CUT = "add table ip cut; add chain ip cut out { type filter hook output priority 0; }; add rule ip cut out "


@dataclass(frozen=True)
class Before:
    """How much was asked for, and sent by the head, before there were workers."""

    requests: int
    bytes_sent: int


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Laptop, Before]]:
    """A laptop whose cluster is up, has its code, and workers that stay for a while."""
    with Cloud(tmp_path_factory.mktemp("cloud")) as cloud:
        laptop = Laptop(cloud, tmp_path_factory.mktemp("laptop"))
        for name, text in FILES.items():
            (laptop.path / name).parent.mkdir(exist_ok=True)
            (laptop.path / name).write_text(text)
        laptop.commit("A trial")
        laptop.up()
        told_steps(laptop.inv("push").stdout)
        before = Before(len(cloud.requests()), sent(head_of(laptop)))
        assert "3 of 3 workers joined" in laptop.inv("start", "--workers", "3").stdout
        yield laptop, before


def told_steps(said: str) -> None:
    """A first push tells each of its steps, in their order."""
    steps = (
        *(
            "Packing ",
            "Connecting ",
            "Sending ",
            "Unpacking ",
            r"The head is building the environment: \d+ packages ",
        ),
        *("The head is packing the environment", r"The head is storing the environment, [\d.,]+ MB"),
        *(
            "The head is storing the release, ",
            "The head is making the release current",
            "The cluster's release is ",
        ),
    )
    assert re.search("(?s)^" + ".*\n".join(steps), said), said


@pytest.fixture(scope="module")
def laptop(fleet: tuple[Laptop, Before]) -> Laptop:
    return fleet[0]


@pytest.fixture(scope="module")
def second(laptop: Laptop, tmp_path_factory: pytest.TempPathFactory) -> Laptop:
    """Another checkout, with the operator's key and the stack's outputs, which has none of the first one's runs."""
    return Laptop(laptop.cloud, tmp_path_factory.mktemp("second"), like=laptop)


@contextmanager
def watching(laptop: Laptop, *words: str) -> Iterator[subprocess.Popen[str]]:
    """An invoke task that goes on meanwhile, as from a shell, whose Ctrl-C it obeys; killed at the end."""
    command = ["env", "--default-signal=INT", sys.executable, "-m", "invoke", *words]
    output: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    with laptop.cloud.laptop.popen(command, cwd=laptop.path, env=laptop.env, text=True, **output) as process:
        try:
            yield process
        finally:
            process.kill()


def told(process: subprocess.Popen[str], words: str) -> str:
    """What it prints, up to a line with these words."""
    assert process.stdout is not None
    seen = ""
    for line in process.stdout:
        seen += line
        if words in line:
            return seen
    raise AssertionError(f"it ended without {words!r}:\n{seen}")


def rest(process: subprocess.Popen[str]) -> str:
    """What it prints from here to its end."""
    return process.communicate(timeout=120)[0]


def table(laptop: Laptop, name: str) -> pl.DataFrame:
    return pl.read_parquet(laptop.path / "runs" / name / "results.parquet").sort("point_id")


def computed(laptop: Laptop, name: str) -> pl.DataFrame:
    """What must be the same wherever the points ran."""
    here = table(laptop, name)
    keep = [one for one in here.columns if one.startswith(("param.", "metric."))]
    return here.select("point_id", "replicate", "seed", "status", "error_type", *keep)


def artifacts(laptop: Laptop, name: str) -> dict[str, str]:
    """What its points wrote."""
    folder = laptop.path / "runs" / name / "artifacts"
    return {file.relative_to(folder).as_posix(): file.read_text() for file in folder.rglob("*") if file.is_file()}


def summary(laptop: Laptop, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((laptop.path / "runs" / name / "summary.json").read_text())
    return found


def head_of(laptop: Laptop) -> MachineHandle:
    return laptop.cloud.machine(laptop.outputs.head_id)


def workers(laptop: Laptop) -> list[MachineHandle]:
    """The machines that are on, the head aside."""
    on = [name for name, leader in laptop.cloud.machines().items() if leader]
    return [laptop.cloud.machine(name) for name in on if name != laptop.outputs.head_id]


def sent(machine: MachineHandle) -> int:
    """The bytes that have left its network card."""
    [line] = [one for one in machine.run(["cat", "/proc/net/dev"]).stdout.splitlines() if "eth0:" in one]
    return int(line.split(":")[1].split()[8])


def test_workers_fetch_code_and_environment_from_the_bucket_and_from_nobody_else(
    fleet: tuple[Laptop, Before],
) -> None:
    """So a start does not get longer with their number: each fetches both once; operator and head serve none."""
    laptop, before = fleet
    fetched: dict[str, Counter[str]] = {}
    for address, method, path in laptop.cloud.requests()[before.requests :]:
        if method == "GET" and path.endswith(".tar.gz"):
            fetched.setdefault(address, Counter())[path.split("/")[-2]] += 1
    ours = {worker.run(["hostname", "-I"]).stdout.split()[0] for worker in workers(laptop)}
    assert fetched.keys() == ours
    assert all(counts.keys() == {"releases", "environments"} for counts in fetched.values())
    stored = laptop.cloud.client("s3").list_objects_v2(Bucket=laptop.outputs.bucket, Prefix="environments/")
    assert sent(head_of(laptop)) - before.bytes_sent < max(one["Size"] for one in stored["Contents"]) / 10


@pytest.mark.parametrize(
    ("grid", "name", "points"), [(DIABETES, "diabetes", 915), (ANY_LANGUAGE, "influenza-1978", 157)]
)
def test_a_sweep_on_three_workers_has_the_rows_of_one_here(laptop: Laptop, grid: str, name: str, points: int) -> None:
    """And its files are here, as after a sweep on this machine; but what commands left behind stays there."""
    said = laptop.inv("sweep", "--grid", grid).stdout
    assert said.startswith("Target: stack dev in us-east-1")
    assert f"Done: {points} of {points} points done" in said
    laptop.inv("sweep", "--grid", grid, "--local", "--name", f"{name}-here")
    far, here = laptop.path / "runs" / name, laptop.path / "runs" / f"{name}-here"
    assert computed(laptop, name).equals(computed(laptop, f"{name}-here"))
    files = {file.name for file in here.iterdir() if not file.name.startswith(".")} - {"artifacts"}
    assert files <= {file.name for file in far.iterdir()}
    seen = set(pl.read_parquet(far / "results.parquet")["worker"])
    assert all(worker.startswith("ip-10-42-") for worker in seen)


@pytest.mark.skipif(not (shutil.which("cc") and shutil.which("readelf")), reason="there is no C compiler")
def test_a_static_program_of_the_repository_runs_on_workers(laptop: Laptop) -> None:
    """Which have no compiler and no library for it: built here, pushed executable; results and files come back."""
    program = laptop.path / "trial" / "twice"
    program.with_suffix(".c").write_text(TWICE)
    subprocess.run(["cc", "-static", "-o", program, program.with_suffix(".c")], check=True)
    headers = subprocess.run(["readelf", "--program-headers", program], capture_output=True, text=True, check=True)
    assert "INTERP" not in headers.stdout
    (laptop.path / PROGRAM).write_text("name: twice\ncommand: [./twice, '{a}']\nparameters: {a: {range: [0, 20]}}\n")
    commit = laptop.commit("A program")
    assert "Done: 20 of 20 points done" in laptop.inv("sweep", "--grid", PROGRAM, "--push").stdout
    rows = table(laptop, "twice")
    assert rows["param.a"].sort().to_list() == list(range(20))
    assert (rows["metric.twice"] == 2 * rows["param.a"]).all()
    assert set(rows["git_commit"]) == {commit}
    assert all(worker.startswith("ip-10-42-") for worker in rows["worker"])
    written = {row["point_id"]: str(row["param.a"]) for row in rows.iter_rows(named=True)}
    assert {name.partition("/")[0]: text for name, text in artifacts(laptop, "twice").items()} == written


def test_a_run_whose_laptop_is_gone_is_found_and_fetched_from_another(laptop: Laptop, second: Laptop) -> None:
    """Its progress and end are seen there, and its results; nothing is left to be done by the first."""
    gate = f"{GATE}-of-another"
    said = laptop.inv("sweep", "--grid", GATED, "--set", f"gate={gate}", "--name", "gone", "--detach").stdout
    assert said.startswith("Target: stack dev in us-east-1 · run gone\n")
    assert "inv attach --name gone" in said
    assert not (laptop.path / "runs" / "gone").exists()
    with watching(second, "attach") as process:
        told(process, f" of {POINTS} · ")
        open_gates(second, gate, process, run="gone", timeout_s=600)
        seen = rest(process)
    assert f"Done: {POINTS} of {POINTS} points done" in seen
    assert "Best loss: 0 at a=3" in seen
    assert computed(second, "gone").height == POINTS
    again = second.inv("attach", "--name", "gone", "--json")
    assert json.loads(again.stdout)["done"] == POINTS


def progress_of(laptop: Laptop, name: str) -> dict[str, Any]:
    """What the driver of a run says of it on the head."""
    found: dict[str, Any] = json.loads(head_of(laptop).run(["cat", str(folder_of(name).progress)]).stdout)
    return found


def test_a_run_is_looked_at_stopped_and_taken_up_again(laptop: Laptop, second: Laptop) -> None:
    """Results are there while it goes on; what is done when it is stopped is kept, and never computed again."""
    command = ("sweep", "--grid", GATED, "--name", "stopped")
    with watching(laptop, *command) as process:
        told(process, f"20 of {POINTS} · ")  # and then the laptop is switched off
    second.inv("results", "--fetch", "--name", "stopped")
    sofar = table(second, "stopped")
    assert sofar.height == 20
    refused = laptop.inv(*command, code=2)
    assert "The run stopped is active already" in refused.stderr
    needed = lambda: progress_of(laptop, "stopped").get("workers_needed") == 3  # noqa: E731
    until(needed, what="its points are seen to be long")
    assert "3 workers requested (what the active runs need)" in laptop.inv("scale", "1").stdout
    assert laptop.group["DesiredCapacity"] == 3
    assert "Stopped stopped. Finished points are kept" in laptop.inv("cancel").stdout
    seen = second.inv("attach", "--name", "stopped", code=130).stdout
    assert "Stopped; finished points are kept, and the same command resumes" in seen
    before = table(second, "stopped")
    assert before.height == 20
    assert "The run stopped has ended already" in laptop.inv("cancel", "--name", "stopped", code=2).stderr
    with watching(laptop, *command, "--json") as process:
        open_gates(laptop, GATE, process, run="stopped", timeout_s=600)
        done = rest(process)
    ended = json.loads(done[done.index("{") :])
    assert (ended["done"], ended["resumed"]) == (POINTS, before.height)
    assert ended["computed"] == POINTS - before.height
    assert "Target: stack dev" in done
    after = table(laptop, "stopped")
    kept = after.filter(pl.col("point_id").is_in(before["point_id"].implode()))
    assert kept.equals(before)  # with the time at which each was started
    third = json.loads(laptop.inv(*command, "--json").stdout)
    assert (third["computed"], third["resumed"]) == (0, POINTS)


def test_what_a_sweep_will_cost_is_said_before_it_runs(laptop: Laptop) -> None:
    """From the points that are here."""
    laptop.inv("sweep", "--grid", TRIAL, "--name", "left")
    again = ("--name", "left", "--redo", "all", "--workers", "2")
    said = laptop.inv("sweep", "--grid", TRIAL, "--preview", *again).stdout.splitlines()
    assert said[0] == "Target: stack dev in us-east-1 · run left"
    assert any(re.fullmatch(r"Time: about .+ on 4 slots \(.*\)\.", line) for line in said)
    cost = r"Cost: (about 0\.\d*[1-9]\d*|<0\.0+1) USD at most, of a budget of 100 \(.*\)\."
    assert any(re.fullmatch(cost, line) for line in said), said


def test_a_sweep_that_has_cost_its_budget_stops(laptop: Laptop) -> None:
    """As the meter on the head says, which is set forward here; what is done is kept, and the code says it failed."""
    slow = ("sweep", "--grid", TRIAL, "--set", "pause_s=3", "--name", "dear")
    head, job = laptop.cloud.machine(laptop.outputs.head_id), "/srv/sweepfleet/jobs/dear"
    with watching(laptop, *slow) as process:
        told(process, f" of {POINTS} · ")

        def spent() -> bool:
            head.run(["sh", "-c", f"cat > {job}/meter.json"], text=json.dumps({"worker_s": 1e15, "at": time.time()}))
            return head.run(["test", "-e", f"{job}/spent"], check=False).returncode == 0

        until(spent, what="the head counts", timeout_s=120)
        said = rest(process)
    assert process.returncode == 1, said
    assert "Note: The sweep has reached its budget, and was stopped. Finished points are kept" in said
    assert re.search(r"Cost: (at most )?[\d,.]+ USD, of a budget of 100", said), said
    done = table(laptop, "dear").height
    assert 0 < done < POINTS
    again = json.loads(laptop.inv(*slow, "--json").stdout)
    assert (again["done"], again["resumed"]) == (POINTS, done)


def test_two_sweeps_at_once_each_show_their_own_efficiency(laptop: Laptop) -> None:
    """What the other one held is none of a run's waste; without that, each of two would seem to use half."""
    words = ("sweep", "--grid", TRIAL, "--set", "pause_s=2", "--json")
    with watching(laptop, *words, "--name", "one") as one, watching(laptop, *words, "--name", "other") as other:
        said = [process.communicate(timeout=600)[0] for process in (one, other)]
    summaries = [json.loads(each[each.index("{") :]) for each in said]
    tables = [table(laptop, name) for name in ("one", "other")]
    spans = [each["started"] for each in tables]
    assert max(span.min() for span in spans) < min(span.max() for span in spans), "they ran at once"  # type: ignore[type-var]
    slots = len(set(tables[0]["worker"]) | set(tables[1]["worker"]))
    for each in summaries:
        of_all = each["busy_s"] / (slots * each["wall_s"])  # as if it had had every slot all the time
        assert 1.2 * of_all < each["efficiency"] <= 1, each


def test_ctrl_c_leaves_the_run_going(laptop: Laptop) -> None:
    with watching(laptop, "sweep", "--grid", TRIAL, "--name", "watched") as process:
        told(process, f" of {POINTS} · ")
        process.send_signal(signal.SIGINT)
        said = rest(process)
    assert process.returncode == 130
    assert "Detached; the sweep is running. Watch: inv attach --name watched" in said
    assert "Traceback" not in said
    assert f"Done: {POINTS} of {POINTS} points done" in laptop.inv("attach", "--name", "watched").stdout


def test_a_connection_that_is_cut_comes_back(laptop: Laptop) -> None:
    """It is said once, and the command ends as if nothing had been."""

    def nft(text: str) -> None:
        laptop.cloud.laptop.run(["nft", "-f", "-"], text=text)

    with watching(laptop, "sweep", "--grid", TRIAL, "--name", "cut") as process:
        told(process, f" of {POINTS} · ")
        nft(SSH_CUT + "tcp dport 22 reject with tcp reset")
        try:
            told(process, "The connection is lost; the sweep is running. Trying again.")
            head = laptop.inv("status", code=3)  # the cut is one
            assert "does not answer on port 22" in head.stderr
        finally:
            nft("delete table ip cut")
        said = rest(process)
    assert process.returncode == 0
    assert said.count("The connection is back.") == 1
    assert "is lost" not in said
    assert f"Done: {POINTS} of {POINTS} points done" in said


def drawn(laptop: Laptop, *words: str) -> list[str]:
    """What is on a terminal at a command's end, from the bar on, without spinners, all numbers alike."""
    line = shlex.join([sys.executable, "-m", "invoke", *words])
    env = laptop.env | {"TERM": "xterm-256color", "COLUMNS": "100", "LINES": "40"}
    done = laptop.cloud.laptop.run(
        ["script", "--quiet", "--return", "--command", line, "/dev/null"], cwd=laptop.path, env=env, timeout_s=300
    )
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", done.stdout).replace("\r", "\n")
    lines = [text.rstrip() for text in plain.split("\n") if text.strip() and text[0] not in SPINNER]
    last = max(number for number, text in enumerate(lines) if "━" in text)
    return [re.sub(r"[\d.,]+", "N", re.sub(r"━[━╸╺ ]*", "━ ", text)) for text in lines[last:]]


def test_a_terminal_shows_the_same_as_for_a_run_on_this_machine(laptop: Laptop) -> None:
    """The bar with its two lines, and the ending; what the bring-home and the cost are comes on top."""
    small = ("sweep", "--grid", TRIAL, "--set", "a=1,2,3,4", "--name", "shown-1")
    far = drawn(laptop, *small)
    here = drawn(laptop, *small[:-1], "shown-2", "--local")
    own = [text for text in far if not text.startswith(("Fetched ", "Cost: "))]
    assert len(far) == len(own) + 2
    assert here == own
    assert [text.split(" ")[0] for text in own[:3]] == ["━", "N", "best"]


def test_points_that_fail_are_told_as_on_this_machine(laptop: Laptop) -> None:
    """The same rows, artifacts, words and exit code; --set, --where and --workers go with it, and --retry-failed."""
    odd = ("sweep", "--grid", TRIAL, "--set", "a=-1,0,1,2", "--set", "pause_s=0", "--where", "a < 2")
    far = laptop.inv(*odd, "--name", "odd", "--workers", "1", code=1).stdout
    here = laptop.inv(*odd, "--name", "odd-here", "--local", code=1).stdout
    assert ", at most 1 worker\n" in far
    assert computed(laptop, "odd").equals(computed(laptop, "odd-here"))
    assert table(laptop, "odd")["error_type"].drop_nulls().to_list() == ["ValueError"]
    assert artifacts(laptop, "odd") == artifacts(laptop, "odd-here") != {}
    failures = [text for text in here.splitlines() if text.startswith(("Done, but", "  1  "))]
    assert len(failures) == 2
    for text in failures:
        assert text.partition(" · ")[0] in far
    again = json.loads(laptop.inv(*odd, "--name", "odd", "--json", code=1).stdout)
    assert (again["computed"], again["failed"]) == (0, 1)
    again = json.loads(laptop.inv(*odd, "--name", "odd", "--json", "--retry-failed", code=1).stdout)
    assert (again["computed"], again["failed"], again["resumed"]) == (1, 1, 2)


def test_a_grid_and_its_points_files_need_not_be_committed(laptop: Laptop) -> None:
    """They travel; the results say that the release does not have them."""
    new = laptop.path / "new"
    (new / "deep").mkdir(parents=True)
    (new / "deep" / "more.json").write_text('[{"a": 8}]')
    (laptop.path / "beside.csv").write_text("a\n9\n")
    grid = new / "grid.yaml"
    grid.write_text("run: trial.fit:fit\npoints: [deep/more.json, ../beside.csv]\nmetric: {name: loss}\n")
    said = laptop.inv("sweep", "--grid", "new/grid.yaml", "--name", "new").stdout
    assert "Note: beside.csv, new/deep/more.json, new/grid.yaml: as where the command was given" in said
    laptop.inv("sweep", "--grid", "new/grid.yaml", "--name", "new-here", "--local")
    assert computed(laptop, "new").equals(computed(laptop, "new-here"))
    assert computed(laptop, "new")["metric.loss"].sort().to_list() == [25, 36]


def test_what_cannot_be_run_there_is_refused_before_anything_is(laptop: Laptop) -> None:
    """A file outside the project, a command in a folder that was not pushed, a folder here that would be lost."""
    outside = laptop.home / "grid.yaml"
    outside.write_text("run: trial.fit:fit\nparameters: {a: [1]}\n")
    refused = laptop.inv("sweep", "--grid", str(outside), "--name", "refused", code=2)
    assert "is outside the project" in refused.stderr
    (laptop.home / "far.csv").write_text("a\n1\n")
    grid = laptop.path / "unpushed" / "grid.yaml"
    grid.parent.mkdir()
    grid.write_text(f"run: trial.fit:fit\npoints: {laptop.home}/far.csv\n")
    refused = laptop.inv("sweep", "--grid", "unpushed/grid.yaml", "--name", "refused", code=2)
    assert "is an absolute path" in refused.stderr
    assert "The cluster has no run refused" in laptop.inv("attach", "--name", "refused", code=2).stderr
    grid.write_text("command: [echo, '{a}']\nparameters: {a: [1]}\n")
    refused = laptop.inv("sweep", "--grid", "unpushed/grid.yaml", "--name", "refused", code=2)
    assert "The command is to run in unpushed, the grid's folder" in refused.stderr
    laptop.inv("sweep", "--grid", "unpushed/grid.yaml", "--name", "mine", "--local")
    refused = laptop.inv("sweep", "--grid", "unpushed/grid.yaml", "--name", "mine", code=2)
    assert "has a run that was made on this machine" in refused.stderr
    assert "The cluster has no run mine" in laptop.inv("cancel", "--name", "mine", code=2).stderr
    for words in (("--workers", "0"), ("--json", "--detach")):
        laptop.inv("sweep", "--grid", TRIAL, "--name", "refused", *words, code=2)


def test_a_run_that_waits_for_workers_can_be_cancelled(laptop: Laptop) -> None:
    """Nothing came of it, and that is said; late, since it takes the workers away."""
    laptop.cloud.refuse_capacity()
    laptop.inv("stop")
    group = laptop.cloud.client("autoscaling").describe_auto_scaling_groups
    until(lambda: not group()["AutoScalingGroups"][0]["Instances"], what="the workers have gone", timeout_s=120)
    laptop.inv("sweep", "--grid", TRIAL, "--name", "waits", "--detach")
    until(lambda: "Run waits: waiting, workers" in laptop.inv("status").stdout, what="it waits", timeout_s=120)
    assert "The run waits has no results yet" in laptop.inv("results", "--fetch", "--name", "waits", code=3).stderr
    assert "Stopped waits. The run waits has no results yet." in laptop.inv("cancel", "--name", "waits").stdout
    refused = laptop.inv("attach", "--name", "waits", code=130)
    assert "The run waits was cancelled before it had results" in refused.stderr
    seen = laptop.inv("status").stdout
    assert "Run waits" not in seen
    nothing = r"cost (at most )?(0|<0\.0001) USD "
    assert re.search(rf"Ended runs, the last one first:\n  waits: cancelled, ended .* ago\) · {nothing}", seen), seen


DOWN = "the stack was taken down elsewhere, and is now forgotten here"


class Remembering:
    """A laptop that knows the cluster as it was, before each command again."""

    def __init__(self, laptop: Laptop) -> None:
        self.laptop = laptop
        self.outputs = laptop.path / ".sweepfleet" / STACK / "outputs.json"
        self._text = self.outputs.read_text()

    def inv(self, *words: str, code: int) -> str:
        """What it says."""
        self.outputs.parent.mkdir(parents=True, exist_ok=True)
        self.outputs.write_text(self._text)
        done = self.laptop.inv(*words, code=code)
        return done.stdout + done.stderr


@pytest.mark.engine
@pytest.mark.skipif(not engine.installed(), reason=engine.WHY_NOT)
def test_a_stack_that_was_taken_down_elsewhere_is_recognized(laptop: Laptop, second: Laptop) -> None:
    """By each command of a checkout that knows it as up, and by one that watches a run. Late: the others need it."""
    first, other = Remembering(laptop), Remembering(second)
    taken_down_under_watch(laptop, second)
    sweep = ("sweep", "--grid", DIABETES, "--name", "elsewhere")
    for who, words in (
        (other, ("status",)),
        (other, sweep),
        (other, ("push",)),
        (other, ("ssh",)),
        (first, ("push",)),
    ):
        assert DOWN in who.inv(*words, code=3)
        assert not who.outputs.exists()
    assert ", 0 leaked" in other.inv("audit", code=0)
    assert "The stack dev is already down" in other.inv("down", "--yes", code=0)
    assert "The stack dev is down, and its bucket" in second.inv("status", code=2).stderr
    said = other.inv("up", "--yes", code=0)
    assert said.index("The stack dev was taken down elsewhere. It is made again.") < said.index("Updating")
    laptop.inv("outputs", "--refresh")
    until(lambda: laptop.inv("status", code=None).returncode == 0, what="the new head answers", timeout_s=300)


def taken_down_under_watch(laptop: Laptop, second: Laptop) -> None:
    """Take the stack down on one laptop while the other watches a run, which ends then."""
    laptop.inv("sweep", "--grid", GATED, "--name", "orphan", "--detach")
    with watching(second, "attach", "--name", "orphan") as process:
        assert process.stdout.readline(), "it watches"
        assert laptop.cloud.denials() == []  # before the roles go, in moto while the head still shuts down
        laptop.inv("down", "--yes")
        said = rest(process)
    assert process.returncode == 3, said
    assert DOWN in said
    laptop.cloud.restore_capacity()


@pytest.mark.engine
@pytest.mark.skipif(not engine.installed(), reason=engine.WHY_NOT)
def test_what_is_stopped_and_taken_down_leaves_nothing(laptop: Laptop) -> None:
    """The last test here: it takes down what the others use."""
    laptop.inv("stop")
    until(lambda: not workers(laptop), what="the workers are gone")
    laptop.inv("down", "--yes", "--purge")
    until(lambda: not laptop.cloud.machines(), what="the head is gone, too")
    assert laptop.leftovers() == []

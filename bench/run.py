"""Measure sweepfleet against plain dask and joblib on this machine, in one run.

    uv run inv bench [--quick]

Prints a table and writes bench/results.json. What is measured, and how to read it: bench/README.md.
"""

from __future__ import annotations

import argparse
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from bench import peers
from bench.here import ROOT, core_count, machine, scratch, tell
from bench.ours import Project, Ran, busy_grid, noop_grid
from bench.table import Row, difference, finish, ratio

RESULTS = ROOT / "bench" / "results.json"
MILLISECONDS = (1, 10, 100)  # that a busy point takes
EFFICIENCY = {1: 0.95, 10: 0.98, 100: 0.99}  # wanted of ours, at each of them
TIMEOUT = "10s"

Samples = defaultdict[str, list[float]]


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is measured."""

    rounds: int
    few: int  # no-op points, as many as plain dask is asked to do
    many: int
    most: int
    busy_s: float  # how long each run of busy points should take
    starts: int  # cold starts in each round


FULL = Sizes(rounds=2, few=10_000, many=100_000, most=1_000_000, busy_s=15.0, starts=3)
QUICK = Sizes(rounds=1, few=100, many=1_000, most=10_000, busy_s=2.0, starts=1)


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(prog="inv bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a hundredth of the points, once: does it run at all?")
    quick = parser.parse_args().quick
    sizes = QUICK if quick else FULL
    here, cores = machine(), core_count()
    begin_s = time.perf_counter()
    samples: Samples = defaultdict(list)
    with scratch() as path:
        project = Project(path)
        tell("warming up")
        project.sweep("warm", noop_grid(1))
        for number in range(sizes.rounds):
            measure(project, sizes, cores=cores, samples=samples, label=f"round {number + 1} of {sizes.rounds}")
    rows = table(samples, sizes)
    spent_s = time.perf_counter() - begin_s
    title = f"{cores} cores, {sizes.rounds} rounds, {spent_s / 60:.0f} min"
    finish(rows, title=title, here=here, rounds=sizes.rounds, samples=samples, file=None if quick else RESULTS)


def measure(project: Project, sizes: Sizes, *, cores: int, samples: Samples, label: str) -> None:
    """One round: a sample of everything (several of a cold start), ours and the peers' by turns."""
    tell(f"{label}: no-op points")
    samples["dask few"].append(peers.sample("dask_noop", cores, sizes.few))
    _noop(project, samples, "few", noop_grid(sizes.few))
    project.forget("few")
    samples["joblib few"].append(peers.sample("joblib_noop", cores, sizes.few))
    _noop(project, samples, "many", noop_grid(sizes.many))
    samples["joblib many"].append(peers.sample("joblib_noop", cores, sizes.many))
    _noop(project, samples, "most", noop_grid(sizes.most))
    spent_s, peak_mb = project.write_files("most")
    samples["files s"].append(spent_s)
    samples["files mb"].append(peak_mb)
    project.forget("most")

    tell(f"{label}: start and resume")
    for _ in range(sizes.starts):
        ran = project.sweep("one", noop_grid(1))
        samples["start first s"].append(_known(ran.first_result_s))
        samples["start command s"].append(ran.command_s)
        # The same command once more, on a run without and on one with many finished points.
        samples["again one s"].append(_resumed(project.sweep("one", noop_grid(1)), 1).command_s)
        samples["again many s"].append(_resumed(project.sweep("many", noop_grid(sizes.many)), sizes.many).command_s)
        project.forget("one")
    project.copy("many", "grown")
    samples["grown s"].append(_resumed(project.sweep("grown", noop_grid(sizes.many, more=1)), sizes.many).command_s)
    for name in ("many", "grown"):
        project.forget(name)

    for ms in MILLISECONDS:
        points = round(sizes.busy_s * 1000 / ms) * cores
        tell(f"{label}: {points:,} points of {ms} ms")
        for key, timeout in (("ours", None), ("ours timeout", TIMEOUT)):
            ran = project.sweep("busy", busy_grid(points, ms=ms, timeout=timeout))
            samples[f"{key} {ms} ms"].append(float(ran.summary["efficiency"]))
            project.forget("busy")
        samples[f"joblib {ms} ms"].append(peers.sample("joblib_busy", cores, points, ms))


def _noop(project: Project, samples: Samples, name: str, grid: str) -> None:
    ran = project.sweep(name, grid)
    samples[f"ours {name}"].append(ran.points_per_s)
    samples[f"ours {name} files"].append(ran.files_per_s)
    samples[f"ours {name} mb"].append(ran.peak_mb)
    samples[f"ours {name} command s"].append(ran.command_s)


def _resumed(ran: Ran, points: int) -> Ran:
    if ran.summary["resumed"] != points:
        raise RuntimeError(f"{points} points had ended, and {ran.summary['resumed']} were found")
    return ran


def _known(value: float | None) -> float:
    if value is None:
        raise RuntimeError("a new run had no first result")
    return value


def table(samples: Samples, sizes: Sizes) -> list[Row]:
    """The rows, with what this project wants of itself on two cores."""
    few, many, most = f"{sizes.few:,}", f"{sizes.many:,}", f"{sizes.most:,}"

    def per_s(what: str, key: str) -> Row:
        return Row("no-op points a second", what, tuple(samples[key]), "points/s")

    def times(what: str, key: str, *, at_least: float | None = None) -> Row:
        values = ratio(samples[key], samples["dask few"])
        return Row(f"times plain dask's at {few}, in the same round", what, values, "x", at_least=at_least)

    named = [
        (f"joblib, {few}", "joblib few"),
        (f"joblib, {many}", "joblib many"),
        *(
            (f"sweepfleet, {points}{until}", f"ours {size}{key}")
            for size, points in (("few", few), ("many", many), ("most", most))
            for until, key in ((", until the last result", ""), (", until all files are written", " files"))
        ),
    ]
    return [
        per_s(f"plain dask, {few}", "dask few"),
        *(per_s(what, key) for what, key in named),
        *(times(what, key, at_least=100 if key.startswith("ours most") else None) for what, key in named),
        *_efficiency(samples),
        *_start_and_resume(samples, few=few, many=many),
        *_memory(samples, few=few, many=many, most=most),
    ]


def _efficiency(samples: Samples) -> Iterator[Row]:
    group = "efficiency: Σ point time / (cores x wall)"
    for ms in MILLISECONDS:
        ours, limited = tuple(samples[f"ours {ms} ms"]), tuple(samples[f"ours timeout {ms} ms"])
        yield Row(group, f"sweepfleet, {ms} ms a point", ours, at_least=EFFICIENCY[ms])
        yield Row(group, f"sweepfleet, {ms} ms a point, timeout set", limited, at_least=EFFICIENCY[ms])
        yield Row(group, f"joblib, {ms} ms a point", tuple(samples[f"joblib {ms} ms"]))


def _start_and_resume(samples: Samples, *, few: str, many: str) -> Iterator[Row]:
    group = "start and resume"
    yield Row(group, "from the command to its first result", tuple(samples["start first s"]), "s", at_most=2.5)
    yield Row(group, "the whole command, 1 point", tuple(samples["start command s"]), "s")
    yield Row(group, "the same again, nothing left to run", tuple(samples["again one s"]), "s")
    added = difference(samples["again many s"], samples["again one s"])
    yield Row(group, f"{many} finished points add to that", added, "s", at_most=2.0)
    grown = difference(samples["grown s"], samples["ours few command s"])
    yield Row(group, f"and to {few} new points, one value added", grown, "s")


def _memory(samples: Samples, *, few: str, many: str, most: str) -> Iterator[Row]:
    group = "peak memory"
    for size, points in (("few", few), ("many", many), ("most", most)):
        limit = 200 if size == "most" else None
        yield Row(group, f"driver, {points} points", tuple(samples[f"ours {size} mb"]), "MB", at_most=limit)
    growth = ratio(samples["ours most mb"], samples["ours many mb"])
    yield Row(group, f"driver, {most} : {many} points", growth, "x", at_most=1.5)
    yield Row(group, f"process that writes the files, {most} points", tuple(samples["files mb"]), "MB")
    yield Row(group, f"  and the time it takes, {most} points", tuple(samples["files s"]), "s")


if __name__ == "__main__":
    main()

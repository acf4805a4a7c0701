"""Measure `sweepfleet.Executor` beside its peers, in one run.

    uv run inv bench --calls [--quick]

Prints a table and writes bench/calls.json. What is measured, and how to read it: bench/README.md.
"""

from __future__ import annotations

import argparse
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from bench.executors import WAYS, sample
from bench.here import ROOT, core_count, machine, tell
from bench.table import Row, finish, ratio

RESULTS = ROOT / "bench" / "calls.json"
NAMES = {
    "ours": "sweepfleet.Executor",
    "dask_client": "dask: client.map and gather",
    "dask_executor": "dask: client.get_executor()",
    "joblib": "joblib's loky",
    "pool": "ProcessPoolExecutor",
    "pool_in_chunks": "ProcessPoolExecutor, chunksize=1000",
}
ONE_BY_ONE = ("dask_client", "dask_executor", "pool")  # too slow for as many calls as the others get


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is measured."""

    rounds: int
    calls: int
    one_by_one: int  # calls of those that send each on its own
    repeats: int  # of one call


FULL = Sizes(rounds=3, calls=100_000, one_by_one=10_000, repeats=300)
QUICK = Sizes(rounds=1, calls=2_000, one_by_one=200, repeats=5)


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(prog="inv bench --calls", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a fraction of it, once: does it run at all?")
    quick = parser.parse_args().quick
    sizes = QUICK if quick else FULL
    here = machine()
    begin_s = time.perf_counter()
    samples = measure(sizes)
    title = f"{here['cores']} cores, {sizes.rounds} rounds, {(time.perf_counter() - begin_s) / 60:.0f} min"
    finish(
        list(table(samples)),
        title=title, here=here, rounds=sizes.rounds, samples=samples, file=None if quick else RESULTS,
    )  # fmt: skip


def measure(sizes: Sizes) -> dict[str, list[float]]:
    """All samples, the ways by turns."""
    samples: defaultdict[str, list[float]] = defaultdict(list)
    cores = core_count()
    for number in range(sizes.rounds):
        for way in WAYS:
            tell(f"round {number + 1} of {sizes.rounds}: {NAMES[way]}")
            calls = sizes.one_by_one if way in ONE_BY_ONE else sizes.calls
            samples[f"{way} map"].append(sample(way, "map", cores, calls))
            if way != "pool_in_chunks":  # for one call the same as without
                samples[f"{way} latency"].append(sample(way, "latency", cores, sizes.repeats) * 1000)
                samples[f"{way} first"].append(sample(way, "first", cores, 1))
    return samples


def table(samples: Mapping[str, Sequence[float]]) -> Iterator[Row]:
    """The rows, with what this project wants of itself on two cores."""
    group = "calls a second of a function that does nothing"
    for way, name in NAMES.items():
        yield Row(group, name, tuple(samples[f"{way} map"]), "points/s")
    beside = ratio(samples["ours map"], samples["dask_client map"])
    yield Row(group, "ours : client.map and gather, same round", beside, "x", at_least=30)
    for what, group, unit, limit in (
        ("latency", "from submit to result of one such call, warm", "ms", 5.0),
        ("first", "from before the import to the first result", "s", 2.0),
    ):
        for way, name in NAMES.items():
            if found := samples.get(f"{way} {what}"):
                yield Row(group, name, tuple(found), unit, at_most=limit if way == "ours" else None)  # type: ignore[arg-type]


if __name__ == "__main__":
    main()

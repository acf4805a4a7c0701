"""The rows of `inv bench --start`, with what this project wants of itself on two cores."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from bench.table import Row, difference, ratio

MILLISECONDS = (1, 10)  # that a point of a short run takes
EFFICIENCY = {1: 0.96, 10: 0.985}  # wanted of ours, at each of them
HEAVY = {"heavy_scikit": "scikit-learn", "heavy_known": "2 s of work, 300 MB"}

Samples = Mapping[str, Sequence[float]]


def table(samples: Samples, *, cores: int, many: int) -> list[Row]:
    """All rows for which there are samples."""
    rows = [
        *_diabetes(samples, "", "examples/diabetes, whole commands", limited=True),
        *_first(samples, cores=cores, many=many),
        *_short(samples),
        *_efficiency(samples),
        *_memory(samples, many=many),
        *_diabetes(samples, "bare ", BARE, limited=False),
        *_first_alone(samples, "bare ", BARE, "heavy_scikit", limited=False),
    ]
    return [row for row in rows if row.samples]


BARE = "nothing compiled, PYTHONDONTWRITEBYTECODE set"
WAYS = {
    "pool": "ProcessPoolExecutor",
    "joblib": "joblib's loky",
    "serial": "a serial loop",
}


def _diabetes(samples: Samples, key: str, group: str, *, limited: bool) -> Iterator[Row]:
    ours = tuple(samples.get(f"{key}diabetes ours", ()))
    yield Row(group, "inv sweep" if limited else "inv sweep, examples/diabetes", ours, "s")
    for way, name in WAYS.items():
        yield Row(group, f"  {name}", tuple(samples.get(f"{key}diabetes {way}", ())), "s")
    beyond = difference(ours, samples[f"{key}diabetes pool"])
    yield Row(group, "inv sweep - ProcessPoolExecutor, same round", beyond, "s", at_most=1.0 if limited else None)


def _first(samples: Samples, *, cores: int, many: int) -> Iterator[Row]:
    for module, name in HEAVY.items():
        group = f"first result after an import: {name}"
        yield from _first_alone(samples, "", group, module, limited=True)
        beyond = difference(samples[f"{module} first of many"], samples[f"{module} alone"])
        yield Row(group, f"  with {many} slots on {cores} cores, likewise", beyond, "s", at_most=1.5)


def _first_alone(samples: Samples, key: str, group: str, module: str, *, limited: bool) -> Iterator[Row]:
    alone = tuple(samples[f"{key}{module} alone"])
    name = "the import alone" if limited else "the import of scikit-learn alone"
    yield Row(group, name, alone, "s")
    beyond = difference(samples[f"{key}{module} first"], alone)
    yield Row(group, "first result - that, same round", beyond, "s", at_most=0.7 if limited else None)


def _short(samples: Samples) -> Iterator[Row]:
    group = "commands that do little"
    for what, key, limit in (
        ("two points that do nothing: first result", "two first", 1.2),
        ("  the whole command", "two command", 2.0),
        ("inv --list", "list", 0.3),
        ("inv runs, 20 runs", "runs", 0.6),
    ):
        yield Row(group, what, tuple(samples[key]), "s", at_most=limit)


def _efficiency(samples: Samples) -> Iterator[Row]:
    group = "efficiency of 3 s runs, timeout set, slots' start included"
    for ms in MILLISECONDS:
        yield Row(group, f"sweepfleet, {ms} ms a point", tuple(samples[f"ours {ms} ms"]), at_least=EFFICIENCY[ms])
        yield Row(group, "  not included", tuple(samples[f"ours {ms} ms, without their start"]))
        yield Row(group, "  joblib", tuple(samples.get(f"joblib {ms} ms", ())))
    yield Row(group, "the slots' start: the slowest one, its import aside", tuple(samples["slots' start"]), "s")


def _memory(samples: Samples, *, many: int) -> Iterator[Row]:
    group = "memory of the slots after an import of 300 MB (PSS)"
    one, all_ = samples.get("memory 1", ()), samples.get(f"memory {many}", ())
    yield Row(group, "1 slot", tuple(one), "MB")
    yield Row(group, f"{many} slots", tuple(all_), "MB")
    yield Row(group, f"{many} slots : 1 slot", ratio(all_, one), "x", at_most=1.5)

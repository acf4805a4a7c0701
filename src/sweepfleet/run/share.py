"""Which of a cluster's workers a run uses, where its command limits their number. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

PREFIX = "bundle-"


def engine_of(key: object) -> str:
    """The engine whose bundle a task of dask's is, by the task's key; empty for any other task."""
    text = str(key)
    return text.removeprefix(PREFIX).partition("-")[0] if text.startswith(PREFIX) else ""


def share(workers: Mapping[str, Iterable[str]], *, me: str, before: Iterable[str], most: int) -> tuple[str, ...]:
    """The workers that a run uses: those that it used before, then those that others use least.

    Two runs that have met on a worker part as soon as one is free: the one whose engine has the greater name leaves.

    Args:
        workers: the engines that have bundles there, by worker.
        me: the run's engine.
        before: the workers that it used until now.
        most: of them.
    """
    others = {worker: {engine for engine in engines if engine not in ("", me)} for worker, engines in workers.items()}
    kept = set(before)
    free = sum(1 for worker, there in others.items() if not there and worker not in kept)
    for worker in sorted(kept & others.keys()):
        if free and others[worker] and min(others[worker]) < me:
            kept.discard(worker)
            free -= 1
    return tuple(sorted(workers, key=lambda worker: (worker not in kept, len(others[worker]), worker))[:most])

"""Put the medians of bench/start.json into README.md: uv run python -m bench.readme."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from bench.here import ROOT
from bench.start import RESULTS

README = ROOT / "README.md"
BEGIN, END = "<!-- bench/start.json, by bench.readme -->\n", "<!-- end of bench/start.json -->\n"


def block(results: Mapping[str, Any]) -> str:
    """The table, from what `inv bench --start` has written."""
    samples: Mapping[str, Sequence[float]] = results["samples"]

    def shown(*keys: str, minus: str | None = None, digits: int = 1) -> str:
        values = []
        for key in keys:
            less = samples[minus] if minus else [0.0] * len(samples[key])
            values.append(statistics.median(a - b for a, b in zip(samples[key], less, strict=True)))
        return " / ".join(f"{value:.{digits}f}" for value in values)

    more = [many / one for many, one in zip(samples["memory 16"], samples["memory 1"], strict=True)]
    few = len(samples["memory 1"])
    scikit, listed = "heavy_scikit", f"{shown('list', 'runs', digits=2)} s"
    head = "(`uv run inv bench --start`, [bench/start.json](bench/start.json))"
    rows = (
        (f"On {results['machine']['cores']} cores, medians of {results['rounds']} rounds, some of {few} {head}", ""),
        ("---", "---"),
        ("`inv sweep` of examples/diabetes, the whole command", f"{shown('diabetes ours')} s"),
        (
            "the same function and points with `ProcessPoolExecutor` / joblib / a serial loop",
            f"{shown('diabetes pool', 'diabetes joblib', 'diabetes serial')} s",
        ),
        (
            "first result beyond the import of scikit-learn, with a slot a core / with 16 slots",
            f"{shown(f'{scikit} first', f'{scikit} first of many', minus=f'{scikit} alone')} s",
        ),
        ("two points that do nothing: first result / whole command", f"{shown('two first', 'two command')} s"),
        (
            "share of the cores' time that points of 1 / 10 ms get in a run of 3 s, with a timeout set",
            shown("ours 1 ms", "ours 10 ms", digits=3),
        ),
        ("the same of joblib", shown("joblib 1 ms", "joblib 10 ms", digits=3)),
        ("memory of 16 slots after an import of 300 MB", f"{statistics.median(more):.1f} times one slot's"),
        ("`inv --list` / `inv runs` with 20 runs", listed),
        (
            "examples/diabetes where nothing is compiled: `inv sweep` / `ProcessPoolExecutor`",
            f"{shown('bare diabetes ours', 'bare diabetes pool')} s",
        ),
    )
    return "".join(["\n", *(f"| {what} | {value} |\n" for what, value in rows), "\n"])


def main() -> None:
    """Replace what is between the two comments."""
    before, _, rest = README.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    README.write_text(before + BEGIN + block(json.loads(RESULTS.read_text())) + END + after)


if __name__ == "__main__":
    main()

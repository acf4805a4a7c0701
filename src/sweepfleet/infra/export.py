"""Exports a stack's outputs: exactly the fields of `Outputs`."""

from __future__ import annotations

from typing import Any

import pulumi

from sweepfleet.infra.outputs import NAMES


def export(**values: Any) -> None:
    """Export every field of `Outputs`.

    Raises:
        TypeError: a field is missing, or a value is no field; readers would not find what is written.
    """
    wrong = set(values) ^ set(NAMES)
    if wrong:
        raise TypeError(f"outputs and Outputs differ in: {', '.join(sorted(wrong))}")
    for name in NAMES:
        pulumi.export(name, values[name])

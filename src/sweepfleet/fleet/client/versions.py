"""Versions that a dask client and its cluster must have in common: what one pickles, the other has to read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version

from sweepfleet.fleet.reach.remote import Host
from sweepfleet.grid.errors import UsageError
from sweepfleet.infra.layout import MachinePaths

# Of these, dask's messages and what they carry are made; the last ones count where both have them.
SAME = ("python", "dask", "distributed", "cloudpickle", "msgpack")
IF_BOTH = ("numpy", "pandas", "pyarrow", "lz4")
ASK = """
import json, sys
from importlib.metadata import PackageNotFoundError, version
found = {"python": "%d.%d" % sys.version_info[:2]}
for name in sys.argv[1:]:
    try:
        found[name] = version(name)
    except PackageNotFoundError:
        pass
print(json.dumps(found))
"""


def here() -> dict[str, str]:
    """This process's versions."""
    import sys

    found = {"python": f"{sys.version_info.major}.{sys.version_info.minor}"}
    for name in (*SAME[1:], *IF_BOTH):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def there(head: Host, *, lock: str) -> dict[str, str]:
    """Those of the cluster's environment. Raises ClusterError: the head does not answer, or has it not."""
    python = f"{MachinePaths().home}/environments/{lock}/bin/python"
    found: dict[str, str] = json.loads(head.ask(python, "-c", ASK, *SAME[1:], *IF_BOTH))
    return found


def check(ours: Mapping[str, str], theirs: Mapping[str, str]) -> None:
    """Refuse versions that differ.

    Raises:
        UsageError: lists them all.
    """
    names = [*SAME, *(name for name in IF_BOTH if name in ours and name in theirs)]
    differ = [name for name in names if ours.get(name) != theirs.get(name)]
    if not differ:
        return
    lines = "\n".join(
        f"  {name}: {ours.get(name, 'not installed')} here, {theirs.get(name, 'not installed')} on the cluster"
        for name in differ
    )
    raise UsageError(
        f"A dask client needs the versions that the cluster has:\n{lines}\n"
        "Use the environment of the project's lock here: uv sync. Or push this one: inv push"
    )

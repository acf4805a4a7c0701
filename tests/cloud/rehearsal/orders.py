"""What a test can make happen in a rig, by name. Runs in the rig; answers are plain values."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.cloud.rehearsal.group import fill
from tests.cloud.rehearsal.launch import SHORTAGES, Refusal
from tests.cloud.rehearsal.network import Link

if TYPE_CHECKING:
    from tests.cloud.rehearsal.rig import Rig


def state(rig: Rig, *, instance_id: str) -> dict[str, Any]:
    """A machine: process 1 as the rig sees it, how often it has booted, whether EC2 is yet to hear of a power cut."""
    unit = rig.reconciler.units.get(instance_id)
    if unit is None:
        return {"known": False, "leader": None, "boots": 0, "news": False}
    news = unit.killed and unit.link is not None
    return {"known": True, "leader": unit.machine.leader, "boots": unit.machine.boots, "news": news}


def machines(rig: Rig) -> dict[str, int | None]:
    """Every machine there is, and its process 1."""
    return {name: unit.machine.leader for name, unit in list(rig.reconciler.units.items())}


def used(rig: Rig, *, instance_id: str) -> float:
    """The processor time, in seconds, that a machine has used since it was switched on."""
    return rig.reconciler.units[instance_id].machine.used_s


def limit(rig: Rig, *, instance_id: str, cores: float) -> None:
    """Give a machine so many of the host's cores; 0 for all."""
    rig.reconciler.units[instance_id].machine.limit(cores)


def kill(rig: Rig, *, instance_id: str) -> None:
    """Cut a machine's power. Its group replaces it; one without a group is stopped."""
    unit = rig.reconciler.units[instance_id]
    unit.killed = unit.machine.running
    unit.machine.kill()


def cut(rig: Rig, *, instance_id: str) -> None:
    """Take a machine off the network."""
    rig.network.cut(_link(rig, instance_id))


def mend(rig: Rig, *, instance_id: str) -> None:
    """Put it back."""
    rig.network.mend(_link(rig, instance_id))


def _link(rig: Rig, instance_id: str) -> Link:
    link = rig.reconciler.units[instance_id].link
    if link is None:
        raise LookupError(f"{instance_id} is off")
    return link


def imds(rig: Rig, *, instance_id: str, status: int, delay_s: float) -> None:
    """Make a machine's metadata service fail or dawdle."""
    metadata = rig.reconciler.units[instance_id].metadata
    metadata.fault, metadata.delay_s = status, delay_s


def interrupt(rig: Rig, *, instance_id: str, in_s: float) -> None:
    """Give notice of a spot interruption; the reconciler terminates when it is due."""
    unit = rig.reconciler.units[instance_id]
    due = datetime.now(UTC) + timedelta(seconds=in_s)
    unit.facts.notice = {"action": "terminate", "time": f"{due:%Y-%m-%dT%H:%M:%SZ}"}
    unit.interrupt_at = time.monotonic() + in_s


def rebalance(rig: Rig, *, instance_id: str) -> None:
    """Recommend to leave an instance; a group that rebalances launches another one for it at once."""
    unit = rig.reconciler.units[instance_id]
    unit.facts.rebalance_at = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
    owner = getattr(unit.instance, "autoscaling_group", None)
    if owner is not None and owner.capacity_rebalance:
        fill(owner, beyond=1)


def refuse(rig: Rig, *, instance_types: Sequence[str], zones: Sequence[str], market: str) -> None:
    """Have no capacity of a kind any more."""
    SHORTAGES.refusals.append(Refusal(frozenset(instance_types), frozenset(zones), market))


def relent(rig: Rig) -> None:
    """Have capacity again."""
    SHORTAGES.refusals.clear()
    SHORTAGES.failed_at.clear()


def index(rig: Rig, *, folder: str) -> str:
    """Serve a folder's wheels in the package index; its address."""
    if Path(folder) not in rig.index.folders:
        rig.index.folders.append(Path(folder))
    return rig.index.url


def denials(rig: Rig) -> list[str]:
    """What machines were refused because their role does not allow it, oldest first."""
    return list(rig.guard.denials)


def requests(rig: Rig) -> list[tuple[str, str, str]]:
    """Every request to AWS, oldest first: the caller's address, method and path."""
    return list(rig.guard.requests)


ORDERS: dict[str, Callable[..., Any]] = {
    each.__name__: each
    for each in (
        *(state, machines, used, limit, kill, cut, mend, imds, interrupt, rebalance, refuse, relent, index),
        *(denials, requests),
    )
}

"""Replaces workers at AWS's notice, while they still finish their points.

A leaving machine is detached from the group. With that call AWS starts another one in its place, and it starts no
second one when the machine ends. A detached machine ends by itself, or AWS ends it, within two minutes.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

from sweepfleet.machine.aws import Aws, AwsError, Group


@dataclass
class Replace:
    """Takes leaving workers out of the group."""

    aws: Aws
    _tried: set[str] = field(default_factory=set)  # those that AWS was asked to detach, or refused to

    def due(self, group: Group, leaving: Collection[str], *, keeps: int) -> Iterator[tuple[str, bool]]:
        """Those of these workers that are to be detached now, and whether another one is needed in place of each.

        Where as many machines as the stack allows are there, a leaving one is left to the group, which replaces it
        when it has gone.

        Args:
            group: as AWS has it, or had it a moment ago.
            leaving: the workers' instance ids, those that are detached already included.
            keeps: the number of workers that are to stay.
        """
        size, there = group.size, len({*group.members, *leaving})
        for name in group.members:
            needed = size <= keeps
            if name not in leaving or name in self._tried or (needed and there >= group.most):
                continue
            yield name, needed
            size -= not needed
            there += needed

    def replace(self, leaving: Collection[str], *, keeps: int) -> None:
        """Detach them, as `due` has it. Raises AwsError: the group cannot be asked for; the next call tries again."""
        self._tried &= set(leaving)
        group = self.aws.group()
        for name, needed in list(self.due(group, leaving, keeps=keeps)):
            self._tried.add(name)
            try:
                self.aws.detach(name, decrement=not needed, spare=name in group.spare_members)
            except AwsError as error:  # it has gone by itself, or this head may not: the group replaces it later
                print(f"the worker {name} leaves and is replaced when it has left: {error}", flush=True)
                continue
            then = "another one takes its place" if needed else "it is not replaced"
            print(f"AWS takes the worker {name} back; {then}", flush=True)

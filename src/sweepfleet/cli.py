"""The command `sweepfleet`: the tasks of `inv`, for projects without a tasks.py."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the task that the command line names."""
    from importlib.metadata import version

    from invoke.program import Program

    from sweepfleet.tasks import ns  # which replaces invoke's parser: before a program is made

    class Command(Program):
        """Lets Python write compiled code, which invoke forbids for the sake of tasks files: here is none."""

        def parse_core(self, argv: list[str] | None) -> None:
            before = sys.dont_write_bytecode
            super().parse_core(argv)
            sys.dont_write_bytecode = before

    Command(name="sweepfleet", binary="sweepfleet", namespace=ns, version=version("sweepfleet")).run()

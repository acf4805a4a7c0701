"""The command `sweepfleet`: the tasks of `inv`, for projects without a tasks.py."""

from __future__ import annotations


def main() -> None:
    """Run the task that the command line names."""
    from importlib.metadata import version

    from invoke.program import Program

    from sweepfleet.tasks import ns  # which replaces invoke's parser: before a program is made

    Program(name="sweepfleet", binary="sweepfleet", namespace=ns, version=version("sweepfleet")).run()

"""python -m tests.cloud.rehearsal up|down|status: a cloud to try things in by hand."""

from __future__ import annotations

import sys

from tests.cloud.rehearsal import lease
from tests.cloud.rehearsal.cloud import Cloud
from tests.cloud.rehearsal.host import why_not

USAGE = "usage: python -m tests.cloud.rehearsal up | down [NAME] | status"


def main(arguments: list[str]) -> int:
    """Do as told; 2 for a usage that there is not, 3 where it cannot run."""
    match arguments:
        case ["up"]:
            return up()
        case ["down", *names] if len(names) < 2:
            for name in lease.down(*names):
                print(f"{name}: gone")
        case ["status"]:
            status()
        case _:
            print(USAGE, file=sys.stderr)
            return 2
    return 0


def up() -> int:
    """Start one that stays, and print how to be its laptop."""
    if reason := why_not():
        print(reason, file=sys.stderr)
        return 3
    cloud = Cloud(tied=False).up()
    laptop = cloud.laptop
    print(f"# {cloud.lease.name}: its log is {cloud.log_file}")
    for name in sorted(laptop.env):
        if name.startswith("AWS_"):
            print(f"export {name}={laptop.env[name]}")
    print(f"# a shell on its laptop: {' '.join(laptop.prefix)} env HOME={laptop.env['HOME']} bash")
    return 0


def status() -> None:
    """Print every cloud and its machines."""
    for entry in lease.leases():
        print(f"{entry.name}: {'up' if entry.alive else 'dead: `down` clears it away'} ({entry.root})")
        if entry.alive:
            for name, leader in Cloud.of(entry).machines().items():
                print(f"  {name}: {'off' if leader is None else 'on'}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""python -m tests.cloud.rehearsal up | shell [NAME] | down [NAME] | status: a cloud to try things in by hand."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.cloud.rehearsal import lease
from tests.cloud.rehearsal.cloud import Cloud
from tests.cloud.rehearsal.host import HostError, why_not
from tests.cloud.rehearsal.lease import Lease
from tests.cloud.rehearsed import Laptop

USAGE = "usage: up | shell [NAME] | down [NAME] | status"
PROMPT = "laptop:\\W\\$ "
UP = """\
{name} is up: a closed network with a stand-in for AWS, where instances are Debian machines on this one.
In it, a laptop has a copy of this checkout, and its stack {stack} is up: head {head}, no workers.

  a shell on the laptop:  inv rehearsal shell
  and there, as ever:     inv push; inv sweep --grid examples/diabetes/grid.yaml; inv status
  end it:                 inv rehearsal down

It stays until then. What goes wrong inside: {log}"""


def main(arguments: list[str]) -> int:
    """Do as told; 2 for what cannot be meant, 3 where it cannot run."""
    match arguments:
        case ["up"]:
            return up()
        case ["shell" | "down" as verb, *names] if len(names) < 2:
            return {"shell": shell, "down": down}[verb](*names)
        case ["status"]:
            return status()
    return refused(USAGE, 2)


def up() -> int:
    """Start one that stays, with a laptop in it and a stack that is up."""
    if reason := why_not():
        return refused(reason, 3)
    print("Starting; the first time on a machine, its packages and images take some minutes ...", flush=True)
    cloud = Cloud(tied=False)
    try:
        outputs = Laptop(cloud.up(), folder(cloud)).up(maxWorkers=8)
    except (HostError, AssertionError) as error:
        cloud.down()
        return refused(str(error), 3)
    except BaseException:  # Ctrl-C, too
        cloud.down()
        raise
    print(UP.format(name=cloud.lease.name, stack=outputs.stack, head=outputs.head_ip, log=cloud.log_file))
    return 0


def shell(name: str = "") -> int:
    """Become a shell on the laptop of a cloud that was started by hand; `name` says which, where there are more."""
    mine = [entry for entry in lease.leases() if entry.alive and not entry.owner and name in {"", entry.name}]
    if len(mine) != 1:
        return refused(not_one(mine, name), 2)
    cloud = Cloud.of(mine[0])
    laptop = Laptop.found(cloud, folder(cloud))
    words = [*cloud.laptop.prefix, "bash", "--norc", "-i"]
    kept = {name: os.environ[name] for name in ("TERM", "COLORTERM") if name in os.environ}
    return subprocess.run(words, cwd=laptop.path, env={**kept, **laptop.env, "PS1": PROMPT}, check=False).returncode


def down(name: str = "") -> int:
    """End one cloud, or all that belong to no running test, and clear away what dead ones have left."""
    gone = lease.down(name or None)
    for each in gone:
        print(f"{each}: gone")
    if not gone:
        return refused(not_one([], name), 2) if name else say("No cloud is there.")
    return 0


def status() -> int:
    """Print every cloud and its machines."""
    known = lease.leases()
    for entry in known:
        print(f"{entry.name}: {state(entry)}")
        if entry.alive:
            for name, leader in Cloud.of(entry).machines().items():
                print(f"  {name}: {'off' if leader is None else 'on'}")
    return 0 if known else say("No cloud is there. Start one: inv rehearsal up")


def state(entry: Lease) -> str:
    """In words."""
    if entry.alive:
        whose = f"process {entry.owner.pid}'s, and ends with it" if entry.owner else "until: inv rehearsal down"
        return f"up ({whose})"
    return "starting or ending" if entry.wanted else "dead; clear away what it left: inv rehearsal down"


def not_one(found: list[Lease], name: str) -> str:
    """Why no cloud was meant, or which ones may have been."""
    if found:
        return f"More than one cloud is up: {', '.join(one.name for one in found)}. Say which: --name NAME"
    if name:
        return f"There is no cloud {name}. Those that there are: inv rehearsal status"
    return "No cloud is up. Start one: inv rehearsal up"


def folder(cloud: Cloud) -> Path:
    """Where the laptop's home and checkout are."""
    return Path(cloud.lease.root, "laptop")


def say(text: str) -> int:
    print(text)
    return 0


def refused(why: str, code: int) -> int:
    print(f"error: {why}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

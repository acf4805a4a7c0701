"""The process that a cloud lives in: the first of a process, mount and network namespace of its own.

When it ends, however it ends, the kernel takes along what is in these: every machine, mount and interface.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection, Listener
from pathlib import Path
from typing import Any

from tests.cloud.rehearsal.host import run

READY = "ready"


@dataclass(frozen=True)
class Spec:
    """What a rig is told when it starts."""

    name: str
    root: str  # machines' disks, volumes, logs
    base: str
    socket: str  # where it takes orders
    tied: bool  # whether it ends when its standard input does

    def to_json(self) -> str:
        return json.dumps(asdict(self))


def main() -> None:
    """Be process 1: wait for whatever is left behind, and end with the rig itself."""
    spec = Spec(**json.loads(sys.argv[1]))
    rig = os.fork()
    if rig == 0:
        Rig(spec).serve()
    while True:
        pid, status = os.wait()
        if pid == rig:
            os._exit(os.waitstatus_to_exitcode(status) & 0xFF)


class Rig:
    """The cloud's parts, and the orders that a test gives them."""

    def __init__(self, spec: Spec) -> None:
        self.spec = spec

    def serve(self) -> None:
        """Start everything, say so on standard output, and take orders until the end."""
        if self.spec.tied:
            threading.Thread(target=_end_with_input, daemon=True).start()
        logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
        cgroup = _own_view(self.spec.name)

        # moto takes seconds to import, and what is above should not wait for it.
        from tests.cloud.rehearsal import amazon, enforcer, network
        from tests.cloud.rehearsal.imds import MetadataService
        from tests.cloud.rehearsal.index import PackageIndex
        from tests.cloud.rehearsal.reconciler import Reconciler
        from tests.cloud.rehearsal.web import serve

        self.network = network.Network()
        self.network.up()
        metadata, self.index = MetadataService(network.METADATA), PackageIndex(network.SERVICES)
        self.reconciler = Reconciler(
            root=Path(self.spec.root),
            base=Path(self.spec.base),
            cgroup=cgroup,
            network=self.network,
            metadata=metadata,
        )
        serve(metadata)
        serve(self.index)
        self.guard = enforcer.Guard(amazon.application(self.reconciler.console))
        amazon.serve(self.guard, network.SERVICES)
        self.reconciler.start()
        with Listener(self.spec.socket, family="AF_UNIX") as listener:
            print(READY, flush=True)
            os.dup2(2, 1)  # whoever waited for this line may close its end
            while True:
                threading.Thread(target=self._obey, args=(listener.accept(),), daemon=True).start()

    def _obey(self, connection: Connection) -> None:
        from tests.cloud.rehearsal.orders import ORDERS

        with connection:
            while True:
                try:
                    name, arguments = connection.recv()
                except (EOFError, OSError):
                    return
                try:
                    order: Callable[..., Any] = ORDERS[name]
                    answer = True, order(self, **arguments)
                except Exception as error:  # noqa: BLE001 - the one who asked gets it
                    answer = False, error
                connection.send(answer)


def _own_view(name: str) -> Path:
    """Hide the host's /run, and see control groups as Debian's version 2 has them; the rig's own group."""
    run("mount", "--make-rprivate", "/")
    run("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", "/run")
    run("mount", "-t", "cgroup2", "none", "/sys/fs/cgroup")
    cgroup = Path("/sys/fs/cgroup", name)
    cgroup.mkdir(exist_ok=True)
    return cgroup


def _end_with_input() -> None:
    while os.read(0, 1):
        pass
    os._exit(0)


if __name__ == "__main__":
    main()

"""The cluster's parts, for `infra/__main__.py`, which lists them; and all of them in one line."""

from __future__ import annotations

import sweepfleet.infra.interrupts  # noqa: F401 # isort: skip # before all else

from dataclasses import dataclass

from sweepfleet.infra.export import export
from sweepfleet.infra.firewall import Firewall
from sweepfleet.infra.head import Head
from sweepfleet.infra.key_pair import KeyPair
from sweepfleet.infra.network import Network
from sweepfleet.infra.setup import Setup
from sweepfleet.infra.storage import Storage
from sweepfleet.infra.workers import Workers

__all__ = ["Cluster", "Firewall", "Head", "KeyPair", "Network", "Setup", "Storage", "Workers", "export"]


@dataclass(frozen=True)
class Cluster:
    """All parts of a cluster, declared and exported: `Cluster.declare(Setup.read())`."""

    network: Network
    firewall: Firewall
    key: KeyPair
    storage: Storage
    workers: Workers
    head: Head

    @classmethod
    def declare(cls, setup: Setup) -> Cluster:
        """Declare what `infra/__main__.py` declares."""
        network = Network(setup)
        firewall = Firewall(setup, network)
        key = KeyPair(setup)
        storage = Storage(setup)
        workers = Workers(setup, network, firewall, key, storage)
        head = Head(setup, network, firewall, key, storage, workers)
        export(setup, network, firewall, storage, workers, head)
        return cls(network, firewall, key, storage, workers, head)

"""The fleet, as a console or a notebook on the head has it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sweepfleet.machine import dask_command
from sweepfleet.machine.facts import Tls


@dataclass(frozen=True, slots=True)
class FleetHere:
    """The cluster of this head."""

    stack: str
    head_ip: str
    tls: Tls

    def client(self) -> Any:
        """Dask's client of the fleet's scheduler: the same one each time, and dask's default from then on.

        Its tasks wait while there are no workers, which is printed.
        """
        from distributed import Client, Security, default_client

        try:
            client = default_client()
        except ValueError:
            security = Security(
                tls_ca_file=str(self.tls.ca),
                tls_client_cert=str(self.tls.certificate("driver")),
                tls_client_key=str(self.tls.key("driver")),
                require_encryption=True,
            )
            client = Client(dask_command.address(self.head_ip), security=security)
        if not client.nthreads():
            print("The cluster has no workers, and tasks wait for some. Start them: inv start --workers N")
        return client

    def __repr__(self) -> str:
        """What to type."""
        return f"<the fleet of {self.stack}: fleet.client() is dask's client of its scheduler>"

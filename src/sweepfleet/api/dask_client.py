"""`Cluster.client`: a plain `distributed.Client` of the cluster's scheduler."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from distributed import Client
from distributed.security import Security

from sweepfleet.fleet.client.session import way_of
from sweepfleet.fleet.fleet import Fleet
from sweepfleet.fleet.steps import Steps
from sweepfleet.grid.errors import SweepfleetError

TIMEOUT_S = 30


@contextlib.contextmanager
def client_of(fleet: Fleet, *, workers: int | None, unpriced: bool, steps: Steps) -> Iterator[Client]:
    """Context with a client that is connected; errors as of `way_of`."""
    with way_of(fleet, workers=workers, unpriced=unpriced, steps=steps) as way:
        security = Security(
            require_encryption=True,
            tls_ca_file=str(way.files.ca),
            tls_client_cert=str(way.files.certificate),
            tls_client_key=str(way.files.key),
        )
        try:
            client = Client(way.address, security=security, name=way.name, timeout=TIMEOUT_S, set_as_default=True)
        except OSError as error:
            raise SweepfleetError(
                f"The scheduler does not answer through the tunnel: {error}. See: inv status"
            ) from error
        with client:
            yield client

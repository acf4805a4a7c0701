"""`Cluster.client`: a plain `distributed.Client` of the cluster's scheduler."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator

from distributed import Client
from distributed.security import Security

from sweepfleet.fleet.client.session import way_of
from sweepfleet.fleet.errors import OF_A_CLUSTER
from sweepfleet.fleet.fleet import Fleet
from sweepfleet.fleet.steps import Steps
from sweepfleet.grid.errors import SweepfleetError

TIMEOUT_S = 30
OF_OPERATORS = OF_A_CLUSTER | {"urllib3"}  # which botocore brings


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
        with _without_operators_filters(), client:
            yield client


@contextlib.contextmanager
def _without_operators_filters() -> Iterator[None]:
    """Context without the warning filters of packages that only an operator's machine has.

    scikit-learn sends all filters along with its tasks, each with its class. Where the scheduler lacks its module
    the tasks fail, and joblib waits for ever.
    """
    own = [each for each in warnings.filters if each[2].__module__.partition(".")[0] in OF_OPERATORS]
    for each in own:
        warnings.filters.remove(each)  # type: ignore[attr-defined]
    try:
        yield
    finally:
        warnings.filters.extend(own)  # type: ignore[attr-defined]

"""Calls to a dask cluster whose connection may break."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
from collections.abc import Iterator

from distributed import Client
from distributed.client import ClosedClientError

from sweepfleet.run.engine_errors import ClusterError
from sweepfleet.run.machine_port import NoReleaseError

# What dask raises when scheduler or worker goes away while it asks them something: it has no one name for it.
GONE = (OSError, ClosedClientError, concurrent.futures.CancelledError, asyncio.CancelledError)


@contextlib.contextmanager
def asking() -> Iterator[None]:
    """Context for calls to the cluster. Raises ClusterError when the connection breaks."""
    try:
        yield
    except NoReleaseError as error:  # S3 may be away: the driver asks again
        raise ClusterError(f"A worker cannot get the code: {error}") from error
    except GONE as error:
        raise ClusterError(f"The connection to the cluster broke: {error or type(error).__name__}") from error


@contextlib.contextmanager
def closing(client: Client) -> Iterator[Client]:
    """Context that closes a client at its end, whatever dask says to that.

    Where the scheduler was killed, closing waits for dask's own try to connect again, which may fail with any error:
    it would take the place of the one that says why the engine ended.
    """
    try:
        yield client
    finally:
        with contextlib.suppress(Exception):
            client.close()

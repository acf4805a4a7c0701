"""A cloud for each test, to be had with pytest_plugins = ["tests.cloud.fixtures"]."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.cloud.moto import Moto, moto_server


@pytest.fixture(scope="session")
def shared_moto() -> Iterator[Moto]:
    with moto_server() as moto:
        yield moto


@pytest.fixture
def moto(shared_moto: Moto) -> Moto:
    """A server with nothing in it but Debian's images."""
    shared_moto.reset()
    return shared_moto

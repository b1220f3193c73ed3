"""A real Redis-protocol server for the tests that need one."""

from collections.abc import Iterator

import pytest
from servers_or_skip import or_skipped

from benchmarks.neighbours.servers import redis_server


@pytest.fixture(scope="session")
def redis_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """A Redis server on loopback, for as long as the tests run."""
    with or_skipped(redis_server(tmp_path_factory.mktemp("redis"))) as server:
        yield server.port

"""A real Redis-protocol server, and shipped networks made ready once, for the tests that ask."""

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from servers_or_skip import or_skipped

from benchmarks.neighbours.servers import redis_server


@pytest.fixture(scope="session")
def redis_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """A Redis server on loopback, for as long as the tests run."""
    with or_skipped(redis_server(tmp_path_factory.mktemp("redis"))) as server:
        yield server.port


@pytest.fixture(scope="session")
def networks_once() -> Iterator[None]:
    """Shipped networks are made ready once for all tests that ask for this: half a second, and they keep no state."""
    import torch

    from model.serving.predictor import SURVEY_INPUTS, Predictor

    load = Predictor.load

    @cache
    def ready(name: str, threads: int, *how: Any) -> Predictor:
        return load(name, *how)

    def load_once(
        weights: Path | str, device: str = "cpu", deterministic: bool = False, engine: Any = "auto"
    ) -> Predictor:
        if weights in SURVEY_INPUTS:
            return ready(str(weights), torch.get_num_threads(), device, deterministic, engine)
        return load(weights, device, deterministic, engine)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Predictor, "load", load_once)
        yield

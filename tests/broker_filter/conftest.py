"""A real Redis-protocol server, and shipped networks made ready once, for the tests that ask."""

from collections.abc import Callable, Iterator
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


@cache
def shipped(load: Callable[..., Any], survey: str, threads: int, *how: Any) -> Any:
    """A shipped network, made ready: it takes half a second, and keeps no state."""
    return load(survey, *how)


@pytest.fixture(scope="module")
def networks_once() -> Iterator[None]:
    """Shipped networks are made ready once for all modules of tests that ask for this."""
    import torch

    from model.serving.predictor import SURVEY_INPUTS, Predictor

    load = Predictor.load

    def load_once(
        weights: Path | str, device: str = "cpu", deterministic: bool = False, engine: Any = "auto"
    ) -> Predictor:
        if weights not in SURVEY_INPUTS:
            return load(weights, device, deterministic, engine)
        return shipped(load, str(weights), torch.get_num_threads(), device, deterministic, engine)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Predictor, "load", load_once)
        yield

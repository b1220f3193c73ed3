"""A service's objects, filled once from a simulated night."""

from collections.abc import Iterator

import pytest
from night_of_objects import Service, night_of_objects


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """The objects of a night, their series in a store and their answers in an index."""
    with night_of_objects(tmp_path_factory.mktemp("service")) as made:
        yield made

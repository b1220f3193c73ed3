"""A toy sky for the tests of training."""

import pytest
from toy_sky import write_toy

from model.dataset import Dataset


@pytest.fixture(scope="session")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """200 objects to learn from, and some to judge by."""
    folder = tmp_path_factory.mktemp("sky") / "toy"
    return write_toy(folder, {"pretrain": 40, "train": 200, "validation": 60, "test": 60})

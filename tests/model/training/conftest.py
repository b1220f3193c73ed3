"""A toy sky for the tests of training."""

from collections.abc import Iterator

import pytest
import torch
from toy_sky import write_toy

from model.data.dataset import Dataset


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """Small tensors on busy cores are faster without threads that wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """200 objects to learn from, and some to judge by."""
    folder = tmp_path_factory.mktemp("sky") / "toy"
    return write_toy(folder, {"pretrain": 40, "train": 200, "validation": 60, "test": 60})

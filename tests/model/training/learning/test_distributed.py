"""Several processes train as one does, or say why they cannot."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from toy_sky import write_toy

from model.data.dataset import Dataset
from model.training.data.dataset_facts import measure
from model.training.data.splits import divide
from model.training.learning.distributed import DistributedError, ProcessGroup
from model.training.learning.execution import ExecutionSettings
from model.training.learning.progress import Progress
from model.training.learning.recipe import Recipe, load_recipe
from model.training.learning.trainer import Training
from model.training.setup import make_loaders, make_network
from model.training.train import main

CPU = torch.device("cpu")
TWO_STAGES = {  # nothing drawn in a step, no batch normalisation; batches of 15 are shared unequally
    "like": "lstm",
    "network": {"dropout": 0.0},
    "batch_size": 15,
    "average_momentum": 0.9,
    "stages": [
        {"part": "pretrain", "epochs": 2, "learning_rate": 0.002},
        {"part": "train", "epochs": 2, "learning_rate": 0.002, "freeze_backbone": True, "renew_head": True},
    ],
}


def torchrun(processes: int, *arguments: str) -> subprocess.CompletedProcess[str]:
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    command = [*launcher, "-m", "model.training.train", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=280)


def test_two_processes_train_as_one(tmp_path: Path):
    """Started by torchrun, two processes take the steps of one, and end with its losses and its weights."""
    data = write_toy(tmp_path / "sky", {"pretrain": 40, "train": 47, "validation": 20, "test": 8})
    recipe = tmp_path / "short.json"
    recipe.write_text(json.dumps(TWO_STAGES))
    common = [str(recipe), "--data", str(data.folder), "--quiet", "--out"]
    assert main([*common, str(tmp_path / "one")]) == 0
    ended = torchrun(2, *common, str(tmp_path / "two"))
    assert ended.returncode == 0, ended.stderr
    one, two = (load_file(tmp_path / name / "checkpoint.safetensors") for name in ("one", "two"))
    for name, tensor in one.items():
        torch.testing.assert_close(two[name], tensor, rtol=1e-4, atol=1e-5, msg=name)
    histories = []
    for name in ("one", "two"):
        lines = (tmp_path / name / "history.jsonl").read_text().splitlines()
        histories.append([json.loads(line)["loss"] for line in lines])
    assert histories[1] == pytest.approx(histories[0], rel=1e-5)
    assert len(histories[0]) == 4


def training(recipe: Recipe, data: Dataset, processes: ProcessGroup) -> Training:
    splits = divide(data)
    network = make_network(recipe, measure(data, splits.train), 3)
    loaders = make_loaders(data, splits, recipe, network, CPU)
    return Training(
        recipe,
        network,
        loaders,
        len(data.classes),
        3,
        ExecutionSettings(CPU),
        Progress(None, quiet=True),
        processes=processes,
    )


def test_batches_too_small_to_share_are_refused(toy: Dataset):
    """Each of several processes must get two objects of every batch: one fewer, and none of them trains."""
    recipe = load_recipe("lstm")  # batches of 64
    training(recipe, toy, ProcessGroup(31, 32))
    with pytest.raises(DistributedError, match="batches of 64 objects for 33 processes"):
        training(recipe, toy, ProcessGroup(0, 33))


def test_shares_make_up_the_batch():
    """Every object of a batch is in one share, and shares are alike in size."""
    batch = torch.arange(15)
    shares = [ProcessGroup(rank, 4).share(batch) for rank in range(4)]
    assert torch.cat(shares).sort().values.tolist() == batch.tolist()
    assert sorted(map(len, shares)) == [3, 4, 4, 4]

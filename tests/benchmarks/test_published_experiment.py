"""The published experiment's command: where runs stand, and checkpoints that travel with the repository."""

from pathlib import Path

import pytest
import torch

from benchmarks.published_experiment import RUNS, Places, pack_unfinished, standing, unpack
from model.training.comparison.baselines import BASELINES
from model.training.learning.checkpoint import load_checkpoint, save_checkpoint
from model.training.learning.recipe import load_recipe


def test_every_run_has_a_recipe_and_a_name_of_its_own():
    """The list holds no run twice, and each system is a floor or a recipe that can be read."""
    assert len({run.name for run in RUNS}) == len(RUNS)
    for run in RUNS:
        assert run.system in BASELINES or load_recipe(run.system).stages


def test_a_packed_checkpoint_goes_on_elsewhere(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """Weights come back to the bit, the optimiser's memory to a part in 200, in a smaller file."""
    places, run = Places(tmp_path / "data", tmp_path / "work", tmp_path / "results"), RUNS[0]
    assert standing(places, run) == "to do"
    weight, memory = torch.randn(300, 40), torch.rand(300, 40)
    tensors = {
        "objective.w": weight,
        "optimizer.0.exp_avg_sq": memory,
        "optimizer.0.step": torch.tensor(7.0),
    }
    state = {"identity": {}, "place": {"epoch": 3}, "history": []}
    places.checkpoint(run).parent.mkdir(parents=True)
    save_checkpoint(places.checkpoint(run), tensors, state)
    pack_unfinished(places)
    assert run.name in capsys.readouterr().out
    assert places.packed(run).stat().st_size < 0.8 * places.checkpoint(run).stat().st_size
    places.checkpoint(run).unlink()
    assert standing(places, run) == "has a packed checkpoint"
    unpack(places.packed(run), places.checkpoint(run))
    tensors_read, state_read = load_checkpoint(places.checkpoint(run))
    assert state_read == state
    assert torch.equal(tensors_read["objective.w"], weight)
    assert tensors_read["optimizer.0.step"] == 7
    torch.testing.assert_close(tensors_read["optimizer.0.exp_avg_sq"], memory, rtol=5e-3, atol=0)


def test_a_run_that_is_done_leaves_no_packed_checkpoint(tmp_path: Path):
    """Once its scores are written, what was kept to go on from is taken away."""
    places, run = Places(tmp_path / "data", tmp_path / "work", tmp_path / "results"), RUNS[0]
    places.packed(run).parent.mkdir(parents=True)
    places.packed(run).write_bytes(b"")
    done = places.results / "runs" / f"{run.name}.json"
    done.parent.mkdir(parents=True)
    done.write_text("{}")
    pack_unfinished(places)
    assert not places.packed(run).exists()

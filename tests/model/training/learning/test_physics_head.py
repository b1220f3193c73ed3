"""Physics learnt beside the classes: targets follow the series as it is cut, and features come to tell them."""

import dataclasses

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from toy_sky import write_toy

from model.data.dataset import Dataset, DatasetError
from model.networks.contract import LightCurve
from model.training.data.augment import Augmentation, change_epochs, one_frame
from model.training.data.dataset_facts import measure
from model.training.data.loader import Loader
from model.training.data.physics import RISE_OF_SNIA_D, Physics, physics_of
from model.training.data.splits import divide
from model.training.learning.execution import ExecutionSettings
from model.training.learning.physics_head import PhysicsHead
from model.training.learning.progress import Progress
from model.training.learning.recipe import load_recipe
from model.training.learning.trainer import Training
from model.training.setup import make_loaders, make_network

CPU = torch.device("cpu")
EXPLOSION_MJD, REDSHIFT = 60_000.0, 0.1


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """A toy sky whose truth tells of its supernovae."""
    folder = tmp_path_factory.mktemp("physics") / "toy"
    toy = write_toy(folder, {"pretrain": 8, "train": 80, "validation": 20, "test": 8})
    truth, rows = toy.truth(), len(toy)
    is_ia = np.array(toy.classes)[toy.labels] == "SNIa"
    peak = 100 + RISE_OF_SNIA_D * (1 + REDSHIFT)
    columns = {
        "redshift": np.full(rows, REDSHIFT),
        "peak_b_abs_mag": np.where(is_ia, -19.3, np.nan),
        "peak_r_abs_mag": np.where(is_ia, np.nan, -17.0),
        "origin_mjd": np.full(rows, EXPLOSION_MJD - 100),
        "peak_day": np.where(is_ia, peak, np.nan),
        "explosion_day": np.where(is_ia, np.nan, 100.0),
    }
    for name, values in columns.items():
        if name in truth.column_names:
            truth = truth.drop_columns([name])
        truth = truth.append_column(name, pa.array(values))
    pq.write_table(truth, folder / "truth.parquet")
    return toy


def rows_of_class(data: Dataset, name: str) -> np.ndarray:
    return np.flatnonzero(np.array(data.classes)[data.labels] == name)


def test_truth_of_supernovae_alone_is_told(told: Dataset):
    """Both types explode on the day that was set, whichever day truth names; of other classes nothing is known."""
    rows = np.concatenate([rows_of_class(told, name)[:2] for name in ("SNIa", "SNOther", "AGN")])
    first = np.full(len(rows), EXPLOSION_MJD - 7)
    physics = physics_of(told, rows, first)
    assert physics.explosion_B[:4].numpy() == pytest.approx([7.0] * 4, abs=1e-3)
    assert physics.peak_abs_mag_B[:4].tolist() == pytest.approx([-19.3, -19.3, -17.0, -17.0])
    for values in (physics.redshift_B, physics.peak_abs_mag_B, physics.explosion_B):
        assert values[4:].isnan().all()


def test_a_truth_without_physics_is_refused(tmp_path):
    """A data set that does not tell names what it lacks and what to do."""
    toy = write_toy(tmp_path / "toy", {"train": 8, "validation": 4, "test": 4})
    bare = toy.truth().select(["object_id"])
    pq.write_table(bare, toy.folder / "truth.parquet")
    with pytest.raises(DatasetError, match=r"redshift.*physics_weight 0"):
        Loader(toy, np.arange(4), 99, CPU, with_physics=True)


def test_ages_follow_a_series_that_is_cut(told: Dataset):
    """A frame keeps its age when those before it are forgotten, once or twice."""
    loader = Loader(told, rows_of_class(told, "SNIa")[:6], 99, CPU, with_physics=True)
    frames, _ = loader.batch(torch.arange(6))
    truth = loader.physics(torch.arange(6))
    assert truth is not None

    def ages(curve: LightCurve) -> torch.Tensor:
        zero_B = torch.zeros(len(curve.mask_BT)) if curve.zero_B is None else curve.zero_B
        return curve.time_BT + (zero_B - truth.explosion_B)[:, None]

    whole = ages(frames.curve)
    alone = one_frame(frames, torch.full((6,), 2), 0.0)
    assert ages(alone.curve)[:, 0].numpy() == pytest.approx(whole[:, 2].numpy(), abs=1e-2)
    generator = torch.Generator().manual_seed(1)
    cut = change_epochs(frames, Augmentation(drop_frames=0.5, late_probability=1.0, draw_runs=2), generator)
    for row in range(6):
        among = ages(cut.curve)[row][cut.curve.mask_BT[row]]
        assert all((whole[row] - age).abs().min() < 1e-2 for age in among)


def test_the_loss_counts_supernovae_alone():
    """Objects of which nothing is known change neither loss nor gradient; without any the loss is 0."""
    torch.manual_seed(0)
    head, nan = PhysicsHead(5), float("nan")
    features = torch.randn(2, 3, 5, requires_grad=True)
    mask = torch.ones(2, 3, dtype=torch.bool)
    curve = LightCurve(mask.long(), torch.arange(3.0).expand(2, 3), mask.float(), mask.float(), mask)
    both = Physics(torch.tensor([0.1, nan]), torch.tensor([-19.0, nan]), torch.tensor([-5.0, nan]))
    loss = head.loss(features, curve, both)
    alone = head.loss(features[:1], curve.select(torch.tensor([0])), both.select(torch.tensor([0])))
    assert loss.item() == pytest.approx(alone.item())
    loss.backward()
    assert features.grad is not None
    assert features.grad[0].abs().sum() > 0
    assert features.grad[1].abs().sum() == 0
    none = both.select(torch.tensor([1]))
    assert head.loss(features[1:], curve.select(torch.tensor([1])), none).item() == 0.0


@pytest.mark.parametrize("name", ["vigil-mini", "ict-convention-mini"])
def test_a_recipe_has_physics_learnt(told: Dataset, name: str):
    """The loss of the physics falls, and the network that is handed out is of the same size as without."""
    recipe = load_recipe(name)
    plain = dataclasses.replace(recipe, network={**recipe.network, "size": 15}, batch_size=20)
    recipe = dataclasses.replace(plain, physics_weight=1.0)
    splits = divide(told)
    network = make_network(recipe, measure(told, splits.train), 1)
    loaders = make_loaders(told, splits, recipe, network, CPU)
    training = Training(recipe, network, loaders, 4, 1, ExecutionSettings(CPU), Progress(None, quiet=True))
    loader = loaders["train"]
    index = torch.arange(20)
    frames, label_B = loader.batch(index)
    stage = recipe.stages[0]

    def physics() -> torch.Tensor:
        return training.objective(
            frames, None, label_B, loader.counts(4), stage, 0.0, None, loader.physics(index)
        )["physics"]  # fmt: skip

    before = physics().item()
    optimizer = torch.optim.Adam(training.objective.parameters(), 3e-3)
    for _ in range(15):
        optimizer.zero_grad()
        physics().backward()
        optimizer.step()
    assert physics().item() < 0.7 * before
    assert {name.split(".")[0] for name in network.state_dict()} == {
        name.split(".")[0] for name in make_network(plain, measure(told, splits.train), 1).state_dict()
    }

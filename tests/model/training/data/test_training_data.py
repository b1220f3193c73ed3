"""How training divides a data set, serves batches of it and disturbs them."""

import copy
import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from toy_sky import NOISE_NJY, SIZE, toy_series

from model.data.dataset import Dataset
from model.networks.contract import Frames, collate
from model.networks.layers.flux_features import baseline_features
from model.past_photometry import History
from model.series import Series
from model.taxonomy import load_taxonomy
from model.training.data import augment
from model.training.data.augment import Augmentation
from model.training.data.dataset_facts import measure
from model.training.data.dataset_identity import differences, identity_of
from model.training.data.loader import Loader, batch_order
from model.training.data.splits import SplitsError, divide
from model.training.setup import taxonomy_version_of

CPU = torch.device("cpu")


def some_frames(rows: int = 5, channels: int = 1):
    rng = np.random.default_rng(2)
    return collate([toy_series(i % 4, rng, 9 - i % 5, channels) for i in range(rows)])


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_parts_are_disjoint_by_split_and_by_fold(toy: Dataset):
    """No row is in two parts; a fold's test rows are exactly that fold."""
    for fold in (None, 0, 4):
        splits = divide(toy, fold)
        rows = np.concatenate([splits.pretrain, splits.train, splits.validation, splits.test])
        assert len(np.unique(rows)) == len(rows)
        if fold is not None:
            assert set(splits.test) == set(np.flatnonzero(toy.folds == fold))
    with pytest.raises(SplitsError, match="no fold 7"):
        divide(toy, 7)


def test_a_data_set_is_its_bytes_whatever_version_of_the_program_made_it(toy: Dataset):
    """Runs go on after an upgrade, and refuse a data set whose files are others."""
    older, other = copy.copy(toy), copy.copy(toy)
    older.manifest = {**toy.manifest, "version": "0.1.0"}
    other.manifest = {**toy.manifest, "files": {name: {"sha256": "0" * 64} for name in toy.manifest["files"]}}
    before = identity_of(older)
    assert differences({**before, "version": "0.1.0"}, identity_of(toy)) == []
    (difference,) = differences(before, identity_of(other))
    assert difference.startswith("sha256")


def test_a_card_names_the_taxonomy_of_its_classes():
    """Other classes than the package's have a taxonomy of their own: the one the set was drawn with, or one by name."""

    def version(classes: tuple[str, ...], recipe: dict | str | None = None) -> str:
        return taxonomy_version_of(SimpleNamespace(classes=classes, manifest={"recipe": recipe}))

    shipped = load_taxonomy()
    assert version(shipped.classes) == shipped.version
    assert version(("TDE", "SNIa"), {"taxonomy": {"version": "mine-3"}}) == "mine-3"
    own = version(("TDE", "SNIa"), "by hand")
    assert own.startswith("own-")
    assert own != version(("SNIa", "TDE"))


def test_the_loader_serves_what_the_stream_would_collate(toy: Dataset):
    """A batch from memory, a batch from disk and a direct collation are the same frames."""
    rows = divide(toy).test
    index = torch.tensor([3, 0, 7])
    in_memory, read = Loader(toy, rows, 99, CPU), Loader(toy, rows, 99, CPU, memory_limit_bytes=0)
    direct = collate([toy.series(int(rows[i])) for i in index])
    for loader in (in_memory, read):
        frames, label = loader.batch(index)
        assert torch.equal(frames.pixels_BTCHW, direct.pixels_BTCHW)
        assert torch.equal(frames.curve.time_BT, direct.curve.time_BT)
        assert label.tolist() == toy.labels[rows[index]].tolist()


def test_a_long_series_keeps_its_newest_frames(toy: Dataset):
    """With a limit of four frames the last four remain, and time starts at the first of them."""
    rows = divide(toy).test[:1]
    frames, _ = Loader(toy, rows, 4, CPU).batch(torch.tensor([0]))
    series = toy.series(int(rows[0]))
    assert frames.curve.time_BT[0].tolist() == pytest.approx((series.time_T[-4:] - series.time_T[-4]).tolist(), 1e-5)


def test_weighted_batches_hold_every_class_as_often():
    """Of classes 1:9 the weighted order draws about as many of each; the plain one is a permutation."""
    label = torch.tensor([0] * 100 + [1] * 900)
    drawn = torch.cat(batch_order(label, 100, True, generator()))
    assert 0.4 < (label[drawn] == 0).float().mean() < 0.6
    plain = torch.cat(batch_order(label, 100, False, generator()))
    assert sorted(plain.tolist()) == list(range(1000))


def test_a_dihedral_view_permutes_pixels():
    """Turning and flipping moves pixels about the centre and changes no value, no mask and no curve."""
    frames = some_frames(8)
    turned = augment.dihedral(frames, generator())
    assert not torch.equal(turned.pixels_BTCHW, frames.pixels_BTCHW)
    assert torch.equal(turned.pixels_BTCHW.flatten(3).sort().values, frames.pixels_BTCHW.flatten(3).sort().values)
    centre = SIZE // 2
    assert torch.equal(turned.pixels_BTCHW[..., centre, centre], frames.pixels_BTCHW[..., centre, centre])
    assert turned.curve is frames.curve


def test_no_rotation_changes_nothing_and_a_large_one_masks_corners():
    """Rotation by zero is the identity; what turns in from outside is masked."""
    frames = some_frames()
    still = augment.rotate(frames, 0.0, 1.0, generator())
    torch.testing.assert_close(still.pixels_BTCHW, frames.pixels_BTCHW, rtol=1e-4, atol=1e-2)
    turned = augment.rotate(frames, 45.0, 1.0, generator())
    assert not turned.pixel_mask_BTCHW.flatten(1).all(1).all()
    assert (turned.pixels_BTCHW[~turned.pixel_mask_BTCHW] == 0).all()


def test_dropped_frames_leave_a_shorter_series_in_order():
    """What remains is in time order, packed to the front, starts at time 0, and padding is as collate makes it."""
    frames = some_frames()
    fewer = augment.drop(
        frames, Augmentation(drop_frames=0.8, truncate_probability=0.5, late_probability=0.5), generator(1)
    )
    mask = fewer.curve.mask_BT
    assert mask.any(1).all()
    assert (mask.sum(1) <= frames.curve.mask_BT.sum(1)).all()
    assert (mask[:, 1:] <= mask[:, :-1]).all()
    assert (fewer.curve.time_BT[:, 0] == 0).all()
    steps = fewer.curve.time_BT.diff(dim=1)
    assert (steps[mask[:, 1:]] >= 0).all()
    assert (fewer.pixels_BTCHW[~mask] == 0).all()
    assert (fewer.scale_BTC[~mask] == 1).all()


def test_drawn_runs_are_whole_groups_of_the_series_in_order():
    """A draw keeps some runs of three that begin at multiples of three, and says how long the series was."""
    frames = collate([toy_series(0, np.random.default_rng(1), length) for length in (30, 11, 4)])
    marked = dataclasses.replace(
        frames.curve,
        flux_BT=torch.arange(30.0).expand(3, 30) * frames.curve.mask_BT,
        flux_error_BT=frames.scale_BTC[..., 0],
    )
    frames = dataclasses.replace(frames, curve=marked)
    drawn = augment.draw(frames, 3, generator(3))
    assert drawn.curve.drawn_from_B.tolist() == [30, 11, 4]
    assert drawn.curve.mask_BT.sum(1).tolist() in ([9, 9, 4], [9, 8, 4])
    place_T = drawn.curve.flux_BT[0]
    assert (place_T[::3] % 3 == 0).all()
    assert (place_T[1::3] == place_T[::3] + 1).all()
    assert (place_T.diff() > 0).all()
    others = {tuple(augment.draw(frames, 3, generator(seed)).curve.flux_BT[0].tolist()) for seed in range(10)}
    assert len(others) > 5


def test_keeping_all_frames_changes_nothing():
    """The identity choice of frames gives back the same batch."""
    frames = some_frames()
    same = augment.keep_frames(frames, torch.ones_like(frames.curve.mask_BT))
    assert torch.equal(same.pixels_BTCHW, frames.pixels_BTCHW)
    assert torch.equal(same.scale_BTC, frames.scale_BTC)
    assert torch.equal(same.curve.flux_BT, frames.curve.flux_BT)


def test_added_noise_is_in_science_and_difference_and_in_the_scale():
    """Doubling the noise changes science and difference alike, spares the template, and the scale says so."""
    frames = some_frames(channels=3)
    noisy = augment.add_noise(frames, 1.0, 2.0, True, generator())
    added = noisy.pixels_BTCHW - frames.pixels_BTCHW
    assert (added[:, :, 1] == 0).all()
    torch.testing.assert_close(added[:, :, 0], added[:, :, 2], rtol=0, atol=1e-2)
    real = frames.curve.mask_BT
    assert (noisy.scale_BTC[real][:, 2] > frames.scale_BTC[real][:, 2]).all()
    assert torch.equal(noisy.scale_BTC[:, :, 1], frames.scale_BTC[:, :, 1])
    grown = (noisy.scale_BTC[:, 0, 2] ** 2 - frames.scale_BTC[:, 0, 2] ** 2).sqrt()
    torch.testing.assert_close(added[:, 0, 2].flatten(1).std(1), grown, rtol=0.2, atol=1.0)


def test_views_of_one_seed_are_the_same():
    """The same generator state gives the same disturbance."""
    how = Augmentation(
        rotation_deg=15, drop_frames=0.3, truncate_probability=0.5, noise_probability=0.5, noise_factor=2
    )
    frames = some_frames()
    views = [augment.change_view(augment.change_epochs(frames, how, g), how, g) for g in (generator(4), generator(4))]
    assert torch.equal(views[0].pixels_BTCHW, views[1].pixels_BTCHW)


def test_facts_measure_the_noise_of_the_sky(toy: Dataset):
    """The typical pixel has the noise that was put in, absent bands take the others' values, and bands are named."""
    facts = measure(toy, divide(toy).train)
    assert facts.bands == "gri"
    assert facts.frame_limit == 9
    assert facts.sigma_njy[2][0] == pytest.approx(NOISE_NJY, rel=0.5)
    assert facts.sigma_njy[5][0] == pytest.approx(np.mean([facts.sigma_njy[b][0] for b in (1, 2, 3)]))


def test_light_above_the_faintest_so_far_looks_back_only():
    """Baseline features of a prefix are those of the whole series, cut; a constant in a band changes nothing."""
    series = toy_series(1, np.random.default_rng(3))
    whole = baseline_features(collate([series]).curve)
    torch.testing.assert_close(baseline_features(collate([series[:4]]).curve), whole[:, :4])
    brighter = dataclasses.replace(series, flux_T=series.flux_T + 1024 * (series.band_T == 1))
    torch.testing.assert_close(baseline_features(collate([brighter]).curve), whole, rtol=1e-3, atol=1e-3)
    assert ((whole[..., 2] >= 0) & (whole[..., 2] <= 1)).all()


def test_facts_of_stacks_have_no_photometry(toy: Dataset):
    """Where fluxes are unknown nothing is measured of them."""
    assert measure(toy, divide(toy).test, "mean_stack").photometry == {}


def test_a_stack_is_of_all_frames_however_short_the_network(toy: Dataset):
    """The form is made of the whole series before the frame limit cuts: mean and median differ."""
    rows = divide(toy).test[:4]
    mean, median = (
        Loader(toy, rows, 3, CPU, form=f"{how}_stack").batch(torch.arange(4))[0] for how in ("mean", "median")
    )
    assert not torch.equal(mean.pixels_BTCHW, median.pixels_BTCHW)


def frames_with_history() -> Frames:
    """One object: frames on days 0 to 5, epochs without stamp half a day after each, and one 20 days before."""
    times = np.arange(6.0)
    series = Series(
        np.ones((6, 1, 3, 3), np.float16),
        np.ones((6, 1), np.float32),
        np.ones(6, np.int8),
        times,
        (100 + times).astype(np.float32),
        np.ones(6, np.float32),
    )
    time_P = np.array([-20.0, *(times + 0.5)])
    history = History(time_P, np.full(7, 2, np.int8), np.zeros(7, np.float32), np.ones(7, np.float32))
    return collate([series], histories=[history])


def test_frames_that_packets_tell_of_become_epochs_without_stamp():
    """A forgotten frame of which a later packet tells joins the history in time order; the future stays unknown."""
    keep, reported = torch.zeros(2, 1, 6, dtype=torch.bool)
    keep[0, [2, 4]], reported[0, [0, 3, 5]] = True, True
    fewer = augment.keep_frames(frames_with_history(), keep, reported)
    assert fewer.curve.time_BT.tolist() == [[0.0, 2.0]]
    history = fewer.curve.history
    assert history is not None
    assert history.time_BT.tolist() == [[-22.0, -2.0, -1.5, -0.5, 0.5, 1.0, 1.5]]
    assert history.band_BT.tolist() == [[2, 1, 2, 2, 2, 1, 2]]
    assert history.flux_BT.tolist() == [[0.0, 100.0, 0.0, 0.0, 0.0, 103.0, 0.0]]


def test_a_stream_that_is_joined_late_is_told_of_some_days():
    """Joined late, an object has as history what lies within the days that packets reach back, and no frame twice."""
    how = augment.Augmentation(dihedral=False, late_probability=1.0, without_history=0.0, short_history=0.0)
    reached = 0
    for seed in range(20):
        late = augment.change_epochs(frames_with_history(), how, torch.Generator().manual_seed(seed), 2.2).curve
        assert late.history is not None
        days = late.history.time_BT[late.history.mask_BT]
        assert days.min() >= -2.2 - 1e-5
        assert len(set(days.tolist()) & set(late.time_BT[late.mask_BT].tolist())) == 0
        reached += int((late.history.band_BT[late.history.mask_BT] == 1).sum())
    assert reached > 0


def test_one_alert_knows_what_its_packet_tells():
    """Of one frame alone, the history is what lies within the days before it, earlier frames among it."""
    alone = augment.one_frame(frames_with_history(), torch.tensor([3]), 2.0).curve
    assert alone.mask_BT.tolist() == [[True]]
    assert alone.history is not None
    assert alone.history.time_BT.tolist() == [[-2.0, -1.5, -1.0, -0.5]]
    assert alone.history.band_BT.tolist() == [[1, 2, 1, 2]]


def test_histories_can_be_forgotten():
    """Where no packet tells of anything the history is empty, whatever frames were missed."""
    how = augment.Augmentation(dihedral=False, drop_frames=0.5, without_history=1.0)
    bare = augment.change_epochs(frames_with_history(), how, torch.Generator().manual_seed(1)).curve
    assert bare.history is not None
    assert not bare.history.mask_BT.any()


def test_shifted_colours_change_a_band_of_an_object_alike_everywhere():
    """One factor a band: in the difference, in what it adds to the science image, in photometry and in the past."""
    frames = some_frames(6, 3)
    moved = augment.shift_colours(frames, 0.3, generator(1))
    seen = frames.pixel_mask_BTCHW[:, :, 0] & frames.pixel_mask_BTCHW[:, :, 2]
    before, after = frames.pixels_BTCHW, moved.pixels_BTCHW
    torch.testing.assert_close(after[:, :, 1], before[:, :, 1])
    static = torch.where(seen, (after - before)[:, :, 0] - (after - before)[:, :, 2], 0.0)
    assert static.abs().max() < 1e-2 * NOISE_NJY
    factor = moved.curve.flux_error_BT / frames.curve.flux_error_BT.clamp(min=1e-9)
    for row in range(6):
        for band in frames.curve.band_BT[row].unique():
            of_band = factor[row][frames.curve.mask_BT[row] & (frames.curve.band_BT[row] == band)]
            assert torch.allclose(of_band, of_band[:1], rtol=1e-4)
    curve = augment.shift_colours(frames_with_history(), 0.3, generator(1)).curve
    assert curve.history is not None
    of_r = curve.history.flux_error_BT[curve.history.band_BT == 2]
    assert torch.allclose(of_r, of_r[:1])
    assert float(of_r[0]) != 1.0


def test_single_alerts_are_one_frame_with_the_month_before_it_or_nothing():
    """Half of the batches, where so asked; of some objects the packet tells nothing."""
    counts = set()
    for seed in range(12):
        curve = augment.single_alerts(frames_with_history(), 0.0, generator(seed), 2.0).curve
        assert curve.mask_BT.tolist() == [[True]]
        assert curve.history is not None
        assert (curve.history.time_BT[curve.history.mask_BT] >= -2.0).all()
        counts.add(int(curve.history.mask_BT.sum()))
    assert {0, 4} <= counts
    silent = augment.single_alerts(frames_with_history(), 1.0, generator(3), 2.0).curve
    assert silent.history is not None
    assert not silent.history.mask_BT.any()
    how = Augmentation(dihedral=False, single_alerts=0.5)
    lengths = [augment.change_epochs(some_frames(4), how, generator(seed)).curve.mask_BT.sum() for seed in range(40)]
    assert 8 < sum(int(length) == 4 for length in lengths) < 32

"""Collation, which training and serving share, and the cutting of series into groups."""

import numpy as np
import pytest
import torch

from model.networks.contract import collate, collate_curve
from model.networks.grouped import cut_groups, last_frame, select_rows
from model.networks.layers.crop import central_crop
from model.series import Series, fit_to_size


def make_series(length: int, seed: int = 0) -> Series:
    rng = np.random.default_rng(seed)
    pixels = rng.normal(size=(length, 2, 5, 5)).astype(np.float16)
    pixels[:, :, 0, 0] = np.nan
    return Series(
        pixels,
        rng.uniform(1, 9, (length, 2)).astype(np.float32),
        rng.integers(0, 6, length).astype(np.int8),
        60_000.0 + np.sort(rng.uniform(0, 90, length)),
        rng.normal(size=length).astype(np.float32),
        rng.uniform(1, 2, length).astype(np.float32),
    )


def test_collation_is_exact():
    """Real frames hold pixels in nJy, masked pixels are 0 and False, padding is 0 and False with scale 1."""
    short, long = make_series(2), make_series(4, seed=1)
    frames = collate([short, long])
    assert frames.pixels_BTCHW.shape == (2, 4, 2, 5, 5)
    expected = short.pixels_TCHW.astype(np.float32) * short.scale_TC[..., None, None]
    assert np.allclose(frames.pixels_BTCHW[0, :2].numpy(), np.nan_to_num(expected), rtol=1e-6)
    assert not frames.pixel_mask_BTCHW[:, :, :, 0, 0].any()
    assert frames.pixel_mask_BTCHW[0, :2].sum() == 2 * 2 * 24
    assert frames.curve.mask_BT.tolist() == [[True, True, False, False], [True] * 4]
    for padded in (frames.pixels_BTCHW[0, 2:], frames.curve.time_BT[0, 2:], frames.curve.flux_BT[0, 2:]):
        assert (padded == 0).all()
    assert (frames.scale_BTC[0, 2:] == 1).all()


def test_times_keep_seconds_through_float32():
    """Times are taken from the first frame before they lose digits: a second of MJD 60,000 survives."""
    series = make_series(2)
    series = Series(
        series.pixels_TCHW,
        series.scale_TC,
        series.band_T,
        np.array([60_000.5, 60_000.5 + 1 / 86_400]),
        series.flux_T,
        series.flux_error_T,
    )
    assert collate([series]).curve.time_BT[0, 1] == pytest.approx(1 / 86_400, rel=1e-5)


def test_unknown_fluxes_are_zero():
    """NaN fluxes and errors become 0, so that no network ever sees NaN."""
    series = make_series(3)
    series.flux_T[1] = np.nan
    series.flux_error_T[1] = np.nan
    curve = collate_curve([series])
    assert curve.flux_BT[0, 1] == 0
    assert curve.flux_error_BT[0, 1] == 0


def test_curve_alone_is_the_same_curve():
    """Collating only the light curve gives what collating everything gives, also to a longer length."""
    batch = [make_series(3), make_series(1, seed=2), make_series(0, seed=3)]
    whole, alone = collate(batch, 5).curve, collate_curve(batch, 5)
    for name in ("band_BT", "time_BT", "flux_BT", "flux_error_BT", "mask_BT"):
        assert torch.equal(getattr(whole, name), getattr(alone, name))
        assert getattr(alone, name).shape == (3, 5)


@pytest.mark.parametrize("function", [collate, collate_curve])
def test_too_long_series_are_refused(function):
    """A series longer than the length asked for is an error with both numbers."""
    with pytest.raises(ValueError, match="4 frames does not fit in 3"):
        function([make_series(4)], 3)


@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_groups_are_consecutive_frames(size):
    """Groups hold consecutive frames, the last is padded, and together they are the series."""
    frames = collate([make_series(4), make_series(1, seed=1)])
    groups, real_N = cut_groups(frames, size)
    count = -(-4 // size)
    assert len(real_N) == 2 * count
    assert real_N.reshape(2, count).sum(1).tolist() == [-(-4 // size), 1]
    pixels = groups.pixels_BTCHW.reshape(2, count * size, 2, 5, 5)
    assert torch.equal(pixels[:, :4], frames.pixels_BTCHW)
    assert (pixels[:, 4:] == 0).all()
    chosen = select_rows(groups, real_N)
    assert chosen.curve.mask_BT.sum() == 5
    assert (groups.scale_BTC[groups.curve.mask_BT.logical_not()] == 1).all()


@pytest.mark.parametrize(("stamp", "size"), [(63, 32), (64, 32), (21, 20), (32, 21), (5, 5)])
def test_torch_and_numpy_crop_alike(stamp, size):
    """The networks' crop keeps the pixels that the stamp room's crop keeps."""
    pixels = np.arange(stamp * stamp, dtype=np.float32).reshape(1, stamp, stamp)
    assert np.array_equal(central_crop(torch.from_numpy(pixels), size).numpy(), fit_to_size(pixels, size))


def test_last_frame():
    """The last real frame is found, and an empty series has index 0."""
    mask = torch.tensor([[True, True, False], [True, True, True], [False, False, False]])
    assert last_frame(mask).tolist() == [1, 2, 0]

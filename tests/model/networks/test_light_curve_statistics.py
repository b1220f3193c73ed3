"""Statistics of light curves: what numpy says of each band, nothing of later frames, finite whatever comes in."""

import dataclasses

import numpy as np
import pytest
import torch

from model.networks.contract import LightCurve, collate_curve
from model.networks.layers.light_curve_statistics import STATISTICS, SUMMARY_WIDTH, summary
from model.series import BANDS, Series


def make_series(length: int, seed: int = 0) -> Series:
    rng = np.random.default_rng(seed)
    return Series(
        np.zeros((length, 1, 1, 1), np.float16),
        np.ones((length, 1), np.float32),
        rng.integers(0, 4, length).astype(np.int8),
        60_000.0 + np.sort(rng.uniform(0, 90, length)),
        rng.normal(3000, 3000, length).astype(np.float32),
        rng.uniform(200, 900, length).astype(np.float32),
    )


def band_statistics(series: Series, band: int) -> np.ndarray:
    """[S] of a band in a whole series."""
    return summary(collate_curve([series]), torch.tensor([[len(series) - 1]]))[0, 0, : STATISTICS * len(BANDS)].reshape(
        len(BANDS), STATISTICS
    )[band].numpy()  # fmt: skip


def test_numbers_are_those_of_numpy():
    """Count, levels, range, scatter, skewness and days since the peak agree with numpy's on the band's frames."""
    series = make_series(40)
    at = series.band_T == 2
    flux, time = series.flux_T[at].astype(float) / 1000, series.time_T[at]
    error = np.hypot(series.flux_error_T[at] / 1000, 0.01 * flux)
    statistics = band_statistics(series, 2)
    assert statistics[0] == pytest.approx(np.log1p(at.sum()) / 3, rel=1e-5)
    assert statistics[1] == pytest.approx(np.arcsinh(np.average(flux, weights=error**-2)) / 3, rel=1e-4)
    assert statistics[2] == pytest.approx(np.arcsinh(np.sort(flux)[(len(flux) - 1) // 2]) / 3, rel=1e-4)
    assert statistics[3] == pytest.approx(np.arcsinh(flux.max()) / 3, rel=1e-4)
    assert statistics[5] == pytest.approx(np.arcsinh(np.ptp(flux)) / 3, rel=1e-4)
    assert statistics[8] == pytest.approx(np.arcsinh(np.sqrt(flux.var() - (error**2).mean())) / 3, rel=1e-3)
    skewness = ((flux - flux.mean()) ** 3).mean() / flux.std() ** 3
    assert statistics[12] == pytest.approx(np.arcsinh(skewness) / 2, rel=1e-3)
    assert statistics[14] == pytest.approx(np.log1p(time[flux.argmax()] - time[0]) / 4, rel=1e-3)
    assert statistics[15] == pytest.approx(np.log1p(time[-1] - time[flux.argmax()]) / 4, rel=1e-3)
    assert statistics[19] == pytest.approx(np.corrcoef(time, flux)[0, 1], abs=1e-3)


def test_every_prefix_at_once():
    """A summary after every frame equals that of the series cut there, and that of the frame asked for alone."""
    series = make_series(12)
    curve = collate_curve([series, make_series(7, seed=3)])
    at_once = summary(curve, torch.arange(curve.mask_BT.shape[1])[None].expand(curve.mask_BT.shape))
    assert at_once.shape == (2, 12, SUMMARY_WIDTH)
    for t in range(12):
        cut = summary(collate_curve([series[: t + 1]]), torch.tensor([[t]]))[0, 0]
        assert torch.allclose(at_once[0, t], cut, atol=1e-5)
        at_two = summary(curve, torch.tensor([[t], [min(t, 6)]]))[:, 0]
        assert torch.allclose(at_two[0], cut, atol=1e-5)
        assert torch.allclose(at_two[1], at_once[1, min(t, 6)], atol=1e-5)


def test_padding_and_the_zero_of_time_are_invisible():
    """What stands in padding, and when time begins, change nothing."""
    series = make_series(6)
    curve = collate_curve([series, make_series(9, seed=5)])
    last_BQ = torch.tensor([[5], [8]])
    disturbed = LightCurve(
        curve.band_BT,
        curve.time_BT + 500.0,
        curve.flux_BT + 1e6 * ~curve.mask_BT,
        curve.flux_error_BT + 1.0 * ~curve.mask_BT,
        curve.mask_BT,
    )
    assert torch.allclose(summary(curve, last_BQ), summary(disturbed, last_BQ), atol=1e-4)


def test_bands_that_were_not_seen_say_nothing():
    """A band without frames has zeros, also in the colours with its neighbours; so has a series without fluxes."""
    series = dataclasses.replace(make_series(8), band_T=np.full(8, 1, np.int8))
    statistics = summary(collate_curve([series]), torch.tensor([[7]]))[0, 0]
    of_bands = statistics[: STATISTICS * len(BANDS)].reshape(len(BANDS), STATISTICS)
    assert of_bands[1].abs().sum() > 0
    assert of_bands[[0, 2, 3, 4, 5]].abs().sum() == statistics[STATISTICS * len(BANDS) :].abs().sum() == 0
    unmeasured = dataclasses.replace(series, flux_error_T=np.zeros(8, np.float32))
    assert summary(collate_curve([unmeasured]), torch.tensor([[7]])).abs().sum() == 0


def test_absurd_light_curves_are_finite():
    """One frame, equal frames, equal times and fluxes of 1e12 nJy give finite numbers of order one."""
    series = make_series(5)
    for odd in (
        series[:1],
        dataclasses.replace(series, flux_T=np.full(5, 700.0, np.float32), band_T=np.ones(5, np.int8)),
        dataclasses.replace(series, time_T=np.full(5, 60_000.0)),
        dataclasses.replace(series, flux_T=np.array([1e12, -1e12, 0, 1, 1e9], np.float32)),
        dataclasses.replace(series, flux_error_T=np.full(5, 1e-12, np.float32), flux_T=series.flux_T * 0),
    ):
        statistics = summary(collate_curve([odd]), torch.arange(len(odd))[None])
        assert torch.isfinite(statistics).all()
        assert statistics.abs().max() < 30


def test_a_brightening_shows():
    """The statistics tell a rise from a constant source: scatter, significance and the share of detections."""
    series = dataclasses.replace(make_series(20), band_T=np.full(20, 2, np.int8))
    constant = dataclasses.replace(series, flux_T=np.full(20, 1000.0, np.float32), flux_error_T=series.flux_error_T / 9)
    bright = dataclasses.replace(constant, flux_T=np.where(np.arange(20) > 15, 9000, 1000).astype(np.float32))
    quiet, risen = band_statistics(constant, 2), band_statistics(bright, 2)
    for index in (8, 11, 13, 16):
        assert risen[index] > quiet[index] + 0.1

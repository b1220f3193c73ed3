"""Statistics of a light curve after each frame: level, range, scatter, shape, colours.

Every number is of one band and of frames up to one frame only; nothing later is read. Boosted trees on such numbers
are hard to beat with few training objects, so :mod:`model.networks.vigil` reads them beside what it learns itself.

Legend: ``B`` objects, ``T`` frames, ``E`` frames at which summaries end, ``Q`` prefixes, ``L`` bands, ``S`` statistics.

References
----------
Sánchez-Sáez et al. 2021, AJ 161, 141: the light-curve features of a broker's classifier.
ATAT, Cabrera-Vives et al. 2024, A&A 689, A289: such features beside attention.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from model.networks.contract import LightCurve
from model.series import BANDS

FLUX_UNIT_NJY = 1_000.0  # AB magnitude 23.9: below it fluxes enter linearly, above by their logarithm
SYSTEMATIC_SHARE = 0.01  # of the flux, added to its error: bright stars are not infinitely significant
DETECTION_SIGMA, HINT_SIGMA = 5.0, 3.0
STATISTICS = 23
COLOURS = 3  # of level, of amplitude and of intrinsic scatter, between neighbouring bands
SUMMARY_WIDTH = STATISTICS * len(BANDS) + COLOURS * (len(BANDS) - 1)
LEVEL, AMPLITUDE, SCATTER = 2, 6, 8  # the statistics that colours compare


def summary(curve: LightCurve, ends_BQ: Tensor) -> Tensor:
    """Statistics of every band and colours, of order one, 0 where a band was not seen.

    Parameters
    ----------
    ends_BQ
        Indices of the frames that the summaries end with.

    Returns
    -------
    [B, Q, SUMMARY_WIDTH]
    """
    known_BT = curve.mask_BT & (curve.flux_error_BT > 0)
    index_T = torch.arange(known_BT.shape[1], device=known_BT.device)
    band_L = torch.arange(len(BANDS), device=known_BT.device)
    of_band_BLT = known_BT[:, None, :] & (curve.band_BT[:, None, :] == band_L[:, None])
    until_BQLT = of_band_BLT[:, None] & (index_T <= ends_BQ[..., None])[:, :, None]
    newest_BQL = torch.where(until_BQLT, index_T, -1).amax(-1)
    seen_BQL = newest_BQL >= 0
    newest_BQL = newest_BQL.clamp(min=0)
    if ends_BQ.shape[1] == 1:
        of_bands_BQLS = statistics(curve, newest_BQL[:, 0])[:, None]
    else:  # a band's statistics change at its own frames only
        of_each_BTS = statistics(curve, index_T.expand(known_BT.shape))
        row_B11 = torch.arange(len(known_BT), device=known_BT.device)[:, None, None]
        of_bands_BQLS = of_each_BTS[row_B11, newest_BQL]
    of_bands_BQLS = torch.where(seen_BQL[..., None], of_bands_BQLS, 0.0)
    both_BQL = (seen_BQL[..., 1:] & seen_BQL[..., :-1]).unsqueeze(-2)
    compared_BQCL = of_bands_BQLS[..., [LEVEL, AMPLITUDE, SCATTER]].transpose(-1, -2)
    colours_BQCL = torch.where(both_BQL, compared_BQCL[..., 1:] - compared_BQCL[..., :-1], 0.0)
    return torch.cat([of_bands_BQLS.flatten(2), colours_BQCL.flatten(2)], -1)


@dataclass(frozen=True, slots=True)
class _Counted:
    """Which frames count at each end, and all fluxes, errors and times; fluxes in FLUX_UNIT_NJY."""

    known_BT: Tensor
    flux_BT: Tensor
    error_BT: Tensor
    time_BT: Tensor
    used_BET: Tensor
    count_BE: Tensor

    def mean_of(self, values_BET: Tensor) -> Tensor:
        """Mean over the frames that count."""
        return torch.where(self.used_BET, values_BET, 0.0).sum(-1) / self.count_BE

    def share_above(self, sigma_BET: Tensor, limit: float) -> Tensor:
        """Share of the frames that count whose flux is so many errors off, above a positive limit or below another."""
        return self.mean_of(sigma_BET > limit if limit > 0 else sigma_BET < limit)


@dataclass(frozen=True, slots=True)
class _Levels:
    """Typical and extreme fluxes; ``top_BE`` is the frame of the highest."""

    best_BE: Tensor
    median_BE: Tensor
    highest_BE: Tensor
    lowest_BE: Tensor
    top_BE: Tensor
    chi_square_BE: Tensor  # about the best level, per frame


@dataclass(frozen=True, slots=True)
class _Scatter:
    """How fluxes lie about their mean: all of it, that of noise, and the rest."""

    from_mean_BET: Tensor
    variance_BE: Tensor
    deviation_BE: Tensor
    noise_BE: Tensor
    excess_BE: Tensor


def statistics(curve: LightCurve, end_BE: Tensor) -> Tensor:
    """Of the frames up to each frame ``end_BE`` [B, E] that share its band, [B, E, S]; the frame itself counts."""
    counted = _counted(curve, end_BE)
    level, scatter = _levels(counted), _scatter(counted)
    rise_BE, fall_BE, trend_BE = _course(counted, end_BE, level, scatter)
    roughness_BE, climbs_BE, falls_BE = _steadiness(curve, counted, level, scatter)
    sigma_BET = (counted.flux_BT[:, None, :] - level.median_BE[..., None]) / counted.error_BT[:, None, :]
    skew_BE = counted.mean_of((scatter.from_mean_BET / scatter.deviation_BE[..., None]) ** 3)
    peak_error_BE = counted.error_BT.gather(1, level.top_BE)
    return torch.stack(
        [
            torch.log1p(counted.count_BE) / 3,
            _compressed(level.best_BE),
            _compressed(level.median_BE),
            _compressed(level.highest_BE),
            _compressed(level.lowest_BE),
            _compressed(level.highest_BE - level.lowest_BE),
            _compressed(level.highest_BE - level.median_BE),
            _compressed(level.median_BE - level.lowest_BE),
            _compressed(scatter.excess_BE),
            torch.log((scatter.deviation_BE + 1e-6) / (level.best_BE.abs() + 1e-3)) / 3,
            torch.log(scatter.excess_BE / scatter.noise_BE.clamp(min=1e-6) + 0.03) / 2,
            torch.log1p(level.chi_square_BE) / 2,
            torch.asinh(skew_BE) / 2,
            _compressed((level.highest_BE - level.median_BE) / peak_error_BE),
            torch.log1p(rise_BE.clamp(min=0)) / 4,
            torch.log1p(fall_BE.clamp(min=0)) / 4,
            counted.share_above(sigma_BET, DETECTION_SIGMA),
            counted.share_above(sigma_BET, HINT_SIGMA),
            counted.share_above(sigma_BET, -DETECTION_SIGMA),
            trend_BE,
            roughness_BE.clamp(max=3),
            climbs_BE,
            falls_BE,
        ],
        -1,
    )


def _compressed(flux: Tensor) -> Tensor:
    return torch.asinh(flux) / 3


def _counted(curve: LightCurve, end_BE: Tensor) -> _Counted:
    known_BT = curve.mask_BT & (curve.flux_error_BT > 0)
    flux_BT = torch.where(known_BT, curve.flux_BT, 0.0) / FLUX_UNIT_NJY
    error_BT = torch.where(known_BT, curve.flux_error_BT, FLUX_UNIT_NJY) / FLUX_UNIT_NJY
    error_BT = torch.sqrt(error_BT.square() + (SYSTEMATIC_SHARE * flux_BT).square()).clamp(min=1e-6)
    index_T = torch.arange(known_BT.shape[1], device=known_BT.device)
    same_BET = curve.band_BT.gather(1, end_BE)[..., None] == curve.band_BT[:, None, :]
    used_BET = same_BET & (index_T <= end_BE[..., None]) & known_BT[:, None, :]
    return _Counted(known_BT, flux_BT, error_BT, curve.time_BT, used_BET, used_BET.sum(-1).clamp(min=1))


def _levels(counted: _Counted) -> _Levels:
    used_BET, flux_BET = counted.used_BET, counted.flux_BT[:, None, :]
    weight_BET = used_BET / counted.error_BT.square()[:, None, :]
    ordered_BET = torch.where(used_BET, flux_BET, math.inf).sort(-1).values
    median_BE = ordered_BET.gather(-1, ((counted.count_BE - 1) // 2)[..., None])[..., 0]
    top_BE = torch.where(used_BET, flux_BET, -math.inf).argmax(-1)
    best_BE = (weight_BET * flux_BET).sum(-1) / weight_BET.sum(-1).clamp(min=1e-12)
    nothing_BE = ~used_BET.any(-1)
    return _Levels(
        best_BE=best_BE,
        median_BE=torch.where(nothing_BE, 0.0, median_BE),
        highest_BE=torch.where(nothing_BE, 0.0, counted.flux_BT.gather(1, top_BE)),
        lowest_BE=torch.where(nothing_BE, 0.0, ordered_BET[..., 0]),
        top_BE=top_BE,
        chi_square_BE=(weight_BET * (flux_BET - best_BE[..., None]).square()).sum(-1) / counted.count_BE,
    )


def _scatter(counted: _Counted) -> _Scatter:
    flux_BET, error_BET = counted.flux_BT[:, None, :], counted.error_BT[:, None, :]
    from_mean_BET = flux_BET - counted.mean_of(flux_BET)[..., None]
    variance_BE = counted.mean_of(from_mean_BET.square())
    noise_BE = counted.mean_of(error_BET.square()).sqrt()
    deviation_BE = variance_BE.clamp(min=1e-12).sqrt()
    excess_BE = (variance_BE - noise_BE.square()).clamp(min=1e-12).sqrt()
    return _Scatter(from_mean_BET, variance_BE, deviation_BE, noise_BE, excess_BE)


def _course(counted: _Counted, end_BE: Tensor, level: _Levels, scatter: _Scatter) -> tuple[Tensor, Tensor, Tensor]:
    """Days from the first frame to the peak and from there to the end; correlation of flux and time."""
    time_BT, time_BET, used_BET = counted.time_BT, counted.time_BT[:, None, :], counted.used_BET
    nothing_BE = ~used_BET.any(-1)
    peak_BE = time_BT.gather(1, level.top_BE)
    first_BE = torch.where(used_BET, time_BET, math.inf).amin(-1)
    rise_BE = torch.where(nothing_BE, 0.0, peak_BE - first_BE)
    fall_BE = torch.where(nothing_BE, 0.0, time_BT.gather(1, end_BE) - peak_BE)
    from_middle_BET = time_BET - counted.mean_of(time_BET)[..., None]
    spread_BE = counted.mean_of(from_middle_BET.square()).clamp(min=1e-6).sqrt()
    trend_BE = counted.mean_of(from_middle_BET * scatter.from_mean_BET) / (spread_BE * scatter.deviation_BE)
    return rise_BE, fall_BE, trend_BE


def _steadiness(
    curve: LightCurve, counted: _Counted, level: _Levels, scatter: _Scatter
) -> tuple[Tensor, Tensor, Tensor]:
    """Steps between frames against the scatter (1 for noise); shares that climb before the peak and fall after it."""
    index_T = torch.arange(counted.known_BT.shape[1], device=counted.known_BT.device)
    step_BT, earlier_BT = steps(curve, counted.known_BT, counted.flux_BT)
    step_BET = torch.where(earlier_BT, step_BT, 0.0)[:, None, :]
    roughness_BE = counted.mean_of(step_BET.square()) / (2 * scatter.variance_BE).clamp(min=1e-6)
    before_BET = index_T <= level.top_BE[..., None]
    climbs_BE = share(counted.used_BET & before_BET, step_BET > 0)
    falls_BE = share(counted.used_BET & ~before_BET, step_BET < 0)
    return roughness_BE, climbs_BE, falls_BE


def steps(curve: LightCurve, known_BT: Tensor, flux_BT: Tensor) -> tuple[Tensor, Tensor]:
    """Flux less that of the frame before in its band, and whether there is one: two [B, T]."""
    index_T = torch.arange(known_BT.shape[1], device=known_BT.device)
    same_BTT = curve.band_BT[:, :, None] == curve.band_BT[:, None, :]
    earlier_BTT = same_BTT & known_BT[:, None, :] & (index_T[:, None] > index_T[None, :])
    before_BT = torch.where(earlier_BTT, index_T, -1).amax(-1)
    step_BT = flux_BT - flux_BT.gather(1, before_BT.clamp(min=0))
    return step_BT, known_BT & (before_BT >= 0)


def share(of_BET: Tensor, are_BET: Tensor) -> Tensor:
    """The share of some frames that are so; 0 where there are none."""
    return (of_BET & are_BET).sum(-1) / of_BET.sum(-1).clamp(min=1)

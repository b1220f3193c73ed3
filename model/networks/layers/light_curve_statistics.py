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


def statistics(curve: LightCurve, end_BE: Tensor) -> Tensor:
    """Of the frames up to each frame ``end_BE`` [B, E] that share its band, [B, E, S]; the frame itself counts."""
    known_BT = curve.mask_BT & (curve.flux_error_BT > 0)
    flux_BT = torch.where(known_BT, curve.flux_BT, 0.0) / FLUX_UNIT_NJY
    error_BT = torch.where(known_BT, curve.flux_error_BT, FLUX_UNIT_NJY) / FLUX_UNIT_NJY
    error_BT = torch.sqrt(error_BT.square() + (SYSTEMATIC_SHARE * flux_BT).square()).clamp(min=1e-6)
    index_T = torch.arange(known_BT.shape[1], device=known_BT.device)
    same_BET = curve.band_BT.gather(1, end_BE)[..., None] == curve.band_BT[:, None, :]
    used_BET = same_BET & (index_T <= end_BE[..., None]) & known_BT[:, None, :]
    weight_BET = used_BET / error_BT.square()[:, None, :]
    count_BE = used_BET.sum(-1).clamp(min=1)
    flux_BET, error_BET, time_BET = (x[:, None, :] for x in (flux_BT, error_BT, curve.time_BT))

    def mean_of(values_BET: Tensor) -> Tensor:
        return torch.where(used_BET, values_BET, 0.0).sum(-1) / count_BE

    ordered_BET = torch.where(used_BET, flux_BET, math.inf).sort(-1).values
    median_BE = ordered_BET.gather(-1, ((count_BE - 1) // 2)[..., None])[..., 0]
    lowest_BE = ordered_BET[..., 0]
    top_BE = torch.where(used_BET, flux_BET, -math.inf).argmax(-1)
    nothing_BE = ~used_BET.any(-1)
    median_BE, lowest_BE = (torch.where(nothing_BE, 0.0, x) for x in (median_BE, lowest_BE))
    highest_BE = torch.where(nothing_BE, 0.0, flux_BT.gather(1, top_BE))
    best_BE = (weight_BET * flux_BET).sum(-1) / weight_BET.sum(-1).clamp(min=1e-12)
    from_mean_BET = flux_BET - mean_of(flux_BET)[..., None]
    variance_BE = mean_of(from_mean_BET.square())
    noise_BE = mean_of(error_BET.square()).sqrt()
    deviation_BE = variance_BE.clamp(min=1e-12).sqrt()
    excess_BE = (variance_BE - noise_BE.square()).clamp(min=1e-12).sqrt()
    sigma_BET = (flux_BET - median_BE[..., None]) / error_BET
    chi_square_BE = (weight_BET * (flux_BET - best_BE[..., None]).square()).sum(-1) / count_BE

    peak_BE = curve.time_BT.gather(1, top_BE)
    first_BE = torch.where(used_BET, time_BET, math.inf).amin(-1)
    rise_BE = torch.where(nothing_BE, 0.0, peak_BE - first_BE)
    fall_BE = torch.where(nothing_BE, 0.0, curve.time_BT.gather(1, end_BE) - peak_BE)
    from_middle_BET = time_BET - mean_of(time_BET)[..., None]
    spread_BE = mean_of(from_middle_BET.square()).clamp(min=1e-6).sqrt()
    trend_BE = mean_of(from_middle_BET * from_mean_BET) / (spread_BE * deviation_BE)

    step_BT, earlier_BT = steps(curve, known_BT, flux_BT)
    step_BET = torch.where(earlier_BT, step_BT, 0.0)[:, None, :]
    roughness_BE = mean_of(step_BET.square()) / (2 * variance_BE).clamp(min=1e-6)
    before_BET = index_T <= top_BE[..., None]
    climbs_BE, falls_BE = (
        share(used_BET & before_BET, step_BET > 0),
        share(used_BET & ~before_BET, step_BET < 0),
    )

    def flux_like(x: Tensor) -> Tensor:
        return torch.asinh(x) / 3

    return torch.stack(
        [
            torch.log1p(count_BE) / 3,
            flux_like(best_BE),
            flux_like(median_BE),
            flux_like(highest_BE),
            flux_like(lowest_BE),
            flux_like(highest_BE - lowest_BE),
            flux_like(highest_BE - median_BE),
            flux_like(median_BE - lowest_BE),
            flux_like(excess_BE),
            torch.log((deviation_BE + 1e-6) / (best_BE.abs() + 1e-3)) / 3,
            torch.log(excess_BE / noise_BE.clamp(min=1e-6) + 0.03) / 2,
            torch.log1p(chi_square_BE) / 2,
            torch.asinh(mean_of((from_mean_BET / deviation_BE[..., None]) ** 3)) / 2,
            flux_like((highest_BE - median_BE) / error_BT.gather(1, top_BE)),
            torch.log1p(rise_BE.clamp(min=0)) / 4,
            torch.log1p(fall_BE.clamp(min=0)) / 4,
            mean_of(sigma_BET > DETECTION_SIGMA),
            mean_of(sigma_BET > HINT_SIGMA),
            mean_of(sigma_BET < -DETECTION_SIGMA),
            trend_BE,
            roughness_BE.clamp(max=3),
            climbs_BE,
            falls_BE,
        ],
        -1,
    )


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

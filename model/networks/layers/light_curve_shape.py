"""Shape of the last month of a light curve: slopes, curvature, colours, limits before the rise.

Magnitudes of positive detections are fitted by weighted least squares, band by band, over windows that end with a
frame; nothing later is read. All sums over all windows are one product of matrices.

Legend: ``B`` objects, ``X`` frames and epochs in order of time, ``Q`` frames at which shapes are asked, ``L`` bands,
``P`` pairs of neighbouring bands, ``W`` windows, ``M`` moments, ``S`` the two sides of a band.

References
----------
Villar et al. 2019, ApJ 884, 83: rise, decline and colour tell supernovae apart. Sánchez-Sáez et al. 2021, AJ 161, 141:
the last limit before a first detection among a broker's features.
"""

import math

import torch
from torch import Tensor

from model.networks.contract import LightCurve
from model.series import BANDS

DETECTED_SIGMA = 3.0
ZERO_MAG_NJY = 3_631.0  # AB magnitude 22.5: magnitudes count from it
MAG_PER_RELATIVE_ERROR = 1.0857
LEAST_ERROR_MAG = 0.03
MONTH_D, RECENT_D, EARLY_D, SAME_COLOUR_D, LAST_COLOUR_D = 30.0, 10.0, 8.0, 1.6, 3.0
DEEPER_MAG = 0.3  # than the first detection: a limit that would have shown it
SLOPE_RIDGE_D2, CURVATURE_RIDGE_D6 = 0.3, 30.0  # keep fits to two or three near times from running away
PAIRS = len(BANDS) - 1
OF_BANDS, OF_PAIRS, OF_ALL = 5, 6, 17
MONTH, RECENT, LAST, EARLY = range(4)  # the windows
BAND_MOMENTS, PAIR_MOMENTS = 9, 5
SHAPE_WIDTH = OF_BANDS * len(BANDS) + OF_PAIRS * PAIRS + OF_ALL


def light_curve_shape(curve: LightCurve, ends_BQ: Tensor) -> Tensor:
    """Numbers of order one, 0 where nothing is known.

    Parameters
    ----------
    curve
        Frames and epochs in order of time, padding last.
    ends_BQ
        Indices of the frames that the windows end with.

    Returns
    -------
    [B, Q, SHAPE_WIDTH]
    """
    known_BX = curve.mask_BT & (curve.flux_error_BT > 0)
    sigma_BX = torch.where(known_BX, curve.flux_BT / curve.flux_error_BT.clamp(min=1e-9), 0.0)
    detected_BX = sigma_BX > DETECTED_SIGMA
    mag_BX = -2.5 * torch.log10(torch.where(detected_BX, curve.flux_BT / ZERO_MAG_NJY, 1.0))
    windows = Windows(curve, ends_BQ, detected_BX)
    moments_BXM = torch.cat(
        [
            _moments_of_bands(curve, detected_BX, sigma_BX, mag_BX),
            _moments_of_pairs(curve, windows.index_X, detected_BX, mag_BX),
        ],
        -1,
    )
    totals_BWQM = (windows.inside_BWQX.flatten(1, 2).double() @ moments_BXM).unflatten(1, (4, -1))
    of_bands, of_pairs = totals_BWQM.split([BAND_MOMENTS * len(BANDS), PAIR_MOMENTS * PAIRS], -1)
    numbers = [
        _of_bands(of_bands.unflatten(-1, (BAND_MOMENTS, -1))),
        _of_pairs(of_pairs.unflatten(-1, (PAIR_MOMENTS, -1))),
        _of_all(curve, windows, known_BX, sigma_BX, mag_BX),
    ]
    return torch.cat(numbers, -1)


class Windows:
    """Which frames lie in the month, the last days and the first days before each frame asked for."""

    def __init__(self, curve: LightCurve, ends_BQ: Tensor, detected_BX: Tensor) -> None:
        time_BX = curve.time_BT
        self.ends_BQ = ends_BQ
        self.index_X = torch.arange(time_BX.shape[1], device=time_BX.device)
        self.now_BQ = time_BX.gather(1, ends_BQ)
        ago_BQX = self.now_BQ.unsqueeze(-1) - time_BX.unsqueeze(1)
        earlier_BQX = curve.mask_BT.unsqueeze(1) & (self.index_X <= ends_BQ.unsqueeze(-1))
        self.month_BQX = earlier_BQX & (ago_BQX <= MONTH_D)
        self.detected_BQX = self.month_BQX & detected_BX.unsqueeze(1)
        none = time_BX.shape[1]
        first_BQ = torch.where(self.detected_BQX, self.index_X, none).amin(-1)
        self.some_BQ = first_BQ < none
        self.first_BQ = torch.where(self.some_BQ, first_BQ, ends_BQ)
        self.first_time_BQ = time_BX.gather(1, self.first_BQ)
        young_BQX = earlier_BQX & (self.index_X >= self.first_BQ.unsqueeze(-1))
        young_BQX = young_BQX & (time_BX.unsqueeze(1) <= self.first_time_BQ.unsqueeze(-1) + EARLY_D)
        recent_BQX, last_BQX = (earlier_BQX & (ago_BQX <= days) for days in (RECENT_D, LAST_COLOUR_D))
        self.inside_BWQX = torch.stack([self.month_BQX, recent_BQX, last_BQX, young_BQX], 1)


def _moments_of_bands(curve: LightCurve, detected_BX: Tensor, sigma_BX: Tensor, mag_BX: Tensor) -> Tensor:
    """What is summed of each detection in its band's place: weight, powers of time, magnitude: [B, X, M * L]."""
    error_BX = (MAG_PER_RELATIVE_ERROR / sigma_BX.clamp(min=DETECTED_SIGMA)).clamp(min=LEAST_ERROR_MAG)
    weight_BX = torch.where(detected_BX, (LEAST_ERROR_MAG / error_BX).square(), 0.0).double()
    t, m = curve.time_BT.double(), mag_BX.double()
    t2 = t * t
    weighted = torch.stack([torch.ones_like(t), t, t2, t2 * t, t2 * t2, m, t * m, t2 * m], -1) * weight_BX.unsqueeze(-1)
    moments_BXM = torch.cat([weighted, detected_BX.double().unsqueeze(-1)], -1)
    band_L = torch.arange(len(BANDS), device=t.device)
    return (moments_BXM.unsqueeze(-1) * (curve.band_BT.unsqueeze(-1) == band_L).unsqueeze(2)).flatten(2)


def _of_bands(totals_BWQML: Tensor) -> Tensor:
    """Of each band: detections, slopes of a month, of ten days and of the first eight, curvature of the month."""
    slope_BWQL, curvature_BQL = (of.float() for of in fitted(totals_BWQML))  # ONNX Runtime has no asinh of float64
    numbers = [
        torch.log1p(totals_BWQML[:, MONTH, :, 8].float()) / 3,
        *torch.asinh(10 * slope_BWQL[:, [MONTH, RECENT, EARLY]]).unbind(1),
        torch.asinh(100 * curvature_BQL),
    ]
    return torch.stack(numbers, -1).flatten(2)


def fitted(totals_BWQML: Tensor) -> tuple[Tensor, Tensor]:
    """Slope (mag/d) of a line in every window, curvature (mag/d^2) of a parabola in the month, from moments."""
    weight = totals_BWQML[..., 0, :]
    t1, t2, t3, t4, m0, m1, m2 = (totals_BWQML[..., 1:8, :] / weight.unsqueeze(-2).clamp(min=1e-9)).unbind(-2)
    square = t1 * t1
    second = (t2 - square).clamp(min=0)
    line = m1 - t1 * m0
    slope_BWQL = line / (second + SLOPE_RIDGE_D2)
    weight, t1, t2, t3, t4, m0, m1, m2, square, second, line = (
        x[:, MONTH] for x in (weight, t1, t2, t3, t4, m0, m1, m2, square, second, line)
    )
    third = t3 - 3 * t1 * t2 + 2 * t1 * square
    fourth = t4 - 4 * t1 * t3 + 6 * square * t2 - 3 * square * square - second * second
    parabola = m2 - 2 * t1 * m1 + square * m0 - second * m0
    determinant = (second * fourth - third * third).clamp(min=0)
    return slope_BWQL, (second * parabola - third * line) / (determinant + CURVATURE_RIDGE_D6)


def _moments_of_pairs(curve: LightCurve, index_X: Tensor, detected_BX: Tensor, mag_BX: Tensor) -> Tensor:
    """What is summed of each colour, at the later of its two detections: [B, X, M * P].

    The partner is the newest detection in the band below, or in the band above, not longer ago than a night or two.
    """
    band_BX, time_BX = curve.band_BT, curve.time_BT
    near_BXX = (index_X.unsqueeze(1) > index_X) & (time_BX.unsqueeze(2) - time_BX.unsqueeze(1) < SAME_COLOUR_D)
    near_BXX = near_BXX & detected_BX.unsqueeze(1) & detected_BX.unsqueeze(2)
    side_S = torch.tensor([1, -1], device=band_BX.device).view(2, 1, 1)
    step_BXX = band_BX.unsqueeze(2) - band_BX.unsqueeze(1)
    partner_BSX = torch.where(near_BXX.unsqueeze(1) & (step_BXX.unsqueeze(1) == side_S.unsqueeze(0)), index_X, -1).amax(
        -1
    )
    theirs_BSX = mag_BX.gather(1, partner_BSX.clamp(min=0).flatten(1)).unflatten(1, (2, -1))
    colour_BSX = side_S.view(1, 2, 1) * (theirs_BSX - mag_BX.unsqueeze(1))
    pair_BSX = band_BX.unsqueeze(1) - torch.tensor([1, 0], device=band_BX.device).view(1, 2, 1)
    pair_BSXP = pair_BSX.unsqueeze(-1) == torch.arange(PAIRS, device=band_BX.device)
    seen_BSXP = (pair_BSXP & (partner_BSX >= 0).unsqueeze(-1)).double()
    seen_BXP, colour_BXP = seen_BSXP.sum(1), (seen_BSXP * colour_BSX.unsqueeze(-1)).sum(1)
    t = time_BX.double().unsqueeze(-1)
    return torch.stack([seen_BXP, seen_BXP * t, seen_BXP * (t * t), colour_BXP, colour_BXP * t], 2).flatten(2)


def _of_pairs(totals_BWQMP: Tensor) -> Tensor:
    """Of each pair of neighbouring bands: pairs, mean and slope of their colour, and the last and the first days'."""
    count = totals_BWQMP[..., 0, :]
    t1, t2, mean_BWQP, m1 = (totals_BWQMP[..., 1:, :] / count.unsqueeze(-2).clamp(min=1)).unbind(-2)
    slope_BQP = ((m1 - t1 * mean_BWQP) / ((t2 - t1 * t1).clamp(min=0) + SLOPE_RIDGE_D2))[:, MONTH]
    count, mean_BWQP, slope_BQP = count.float(), mean_BWQP.float(), slope_BQP.float()
    numbers = [
        torch.log1p(count[:, MONTH]) / 3,
        mean_BWQP[:, MONTH],
        torch.asinh(10 * slope_BQP),
        mean_BWQP[:, LAST],
        (count[:, LAST] > 0).float(),
        mean_BWQP[:, EARLY],
    ]
    return torch.stack(numbers, -1).flatten(2).clamp(-3, 3)


def _of_all(curve: LightCurve, windows: Windows, known_BX: Tensor, sigma_BX: Tensor, mag_BX: Tensor) -> Tensor:
    """Of all bands together: age, peak, how far from it, limits before the first detection, signs."""
    time_BX, index_X = curve.time_BT, windows.index_X
    length = windows.ends_BQ.shape[1]
    peak_BQ = torch.where(windows.detected_BQX, mag_BX.unsqueeze(1), math.inf).argmin(-1)
    at_three = torch.cat([windows.first_BQ, windows.ends_BQ, peak_BQ], 1)
    mags = torch.where(windows.some_BQ.repeat(1, 3), mag_BX.gather(1, at_three), 0.0)
    first_mag, last_mag, peak_mag = mags.split(length, 1)
    peak_time_BQ = torch.where(windows.some_BQ, time_BX.gather(1, peak_BQ), windows.now_BQ)
    limit_BX = known_BX & (sigma_BX.abs() <= DETECTED_SIGMA)
    depth_BX = -2.5 * torch.log10((5 * curve.flux_error_BT / ZERO_MAG_NJY).clamp(min=1e-6))
    before_BQX = windows.month_BQX & limit_BX.unsqueeze(1) & (index_X < windows.first_BQ.unsqueeze(-1))
    deep_BQX = before_BQX & (depth_BX.unsqueeze(1) > first_mag.unsqueeze(-1) + DEEPER_MAG)
    newest_BQ2 = torch.where(torch.stack([before_BQX, deep_BQX], 2), index_X, -1).amax(-1)
    found_BQ2, at_B = newest_BQ2 >= 0, newest_BQ2.clamp(min=0).flatten(1)
    told_time, told_depth = (of_BX.gather(1, at_B).view(newest_BQ2.shape) for of_BX in (time_BX, depth_BX))
    gap_BQ2 = torch.log1p((windows.first_time_BQ.unsqueeze(-1) - told_time).clamp(min=0)) / 2
    depth_BQ2 = (told_depth - first_mag.unsqueeze(-1)).clamp(-3, 3)
    limits_BQ6 = torch.where(
        found_BQ2.unsqueeze(-1), torch.stack([gap_BQ2, depth_BQ2, torch.ones_like(gap_BQ2)], -1), 0.0
    )
    detections_BQ = windows.detected_BQX.sum(-1)
    negative_BQ = (windows.month_BQX & (sigma_BX < -DETECTED_SIGMA).unsqueeze(1)).sum(-1)
    since = [
        windows.now_BQ - windows.first_time_BQ,
        windows.now_BQ - peak_time_BQ,
        peak_time_BQ - windows.first_time_BQ,
    ]
    numbers = [
        torch.log1p(before_BQX.sum(-1)) / 3,
        *(torch.log1p(torch.stack(since).clamp(min=0)) / 2).unbind(0),
        torch.log1p(detections_BQ) / 3,
        peak_mag / 3,
        first_mag - peak_mag,
        last_mag - peak_mag,
        detections_BQ / windows.month_BQX.sum(-1).clamp(min=1),
        detections_BQ / (detections_BQ + negative_BQ).clamp(min=1),
        torch.tanh(sigma_BX.gather(1, windows.ends_BQ) / 10),
    ]
    return torch.cat([limits_BQ6.flatten(2), torch.stack(numbers, -1)], -1)

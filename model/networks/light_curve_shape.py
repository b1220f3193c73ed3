"""A light curve in, the shape of its last month out: slopes, curvature, colours and limits before the rise.

Magnitudes of positive detections are fitted by weighted least squares, band by band, over windows that end with a
frame; nothing later is read. Sums over time are kept as running totals, so that the shapes after every frame of a
series cost little more than those after one.

Legend: ``B`` objects, ``X`` frames and epochs in order of time, ``Q`` frames at which shapes are asked, ``L`` bands,
``P`` pairs of neighbouring bands, ``W`` windows, ``M`` moments.

References
----------
Villar et al. 2019, ApJ 884, 83: rise, decline and colour tell supernovae apart. Sánchez-Sáez et al. 2021, AJ 161, 141:
the last limit before a first detection among a broker's features.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional

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
    detected_BX = known_BX & (sigma_BX > DETECTED_SIGMA)
    flux_BX = torch.where(detected_BX, curve.flux_BT, ZERO_MAG_NJY)
    mag_BX = -2.5 * torch.log10(flux_BX / ZERO_MAG_NJY)
    windows = Windows(curve, ends_BQ, detected_BX)
    error_BX = (MAG_PER_RELATIVE_ERROR / sigma_BX.clamp(min=DETECTED_SIGMA)).clamp(min=LEAST_ERROR_MAG)
    weight_BX = torch.where(detected_BX, (LEAST_ERROR_MAG / error_BX).square(), 0.0)
    numbers = [
        _of_bands(curve, windows, weight_BX, mag_BX),
        _of_pairs(curve, windows, detected_BX, mag_BX),
        _of_all(curve, windows, sigma_BX, mag_BX),
    ]
    return torch.cat(numbers, -1)


class Windows:
    """Which frames lie in the month, the last days and the first days before each frame asked for."""

    def __init__(self, curve: LightCurve, ends_BQ: Tensor, detected_BX: Tensor) -> None:
        self.ends_BQ = ends_BQ
        self.row_B1 = torch.arange(ends_BQ.shape[0], device=ends_BQ.device).unsqueeze(1)
        time_BX = curve.time_BT
        self.index_X = torch.arange(time_BX.shape[1], device=time_BX.device)
        self.now_BQ = time_BX.gather(1, ends_BQ)
        ago_BQX = self.now_BQ.unsqueeze(-1) - time_BX.unsqueeze(1)
        earlier_BQX = curve.mask_BT.unsqueeze(1) & (self.index_X <= ends_BQ.unsqueeze(-1))
        self.month_BQX = earlier_BQX & (ago_BQX <= MONTH_D)
        self.of_all_BQX = self.month_BQX & detected_BX.unsqueeze(1)
        none = time_BX.shape[1]
        first_BQ = torch.where(self.of_all_BQX, self.index_X, none).amin(-1)
        self.some_BQ = first_BQ < none
        self.first_BQ = torch.where(self.some_BQ, first_BQ, ends_BQ)
        self.first_time_BQ = time_BX.gather(1, self.first_BQ)
        young_BQX = earlier_BQX & (time_BX.unsqueeze(1) <= self.first_time_BQ.unsqueeze(-1) + EARLY_D)
        self.end_BQ = ends_BQ + 1
        self.starts = [self.end_BQ - (earlier_BQX & (ago_BQX <= days)).sum(-1) for days in (RECENT_D, LAST_COLOUR_D)]
        self.month_start_BQ = self.end_BQ - self.month_BQX.sum(-1)
        self.young_end_BQ = young_BQX.sum(-1)

    def totals(self, of_each: Tensor, since: tuple[Tensor, ...], until: tuple[Tensor, ...]) -> Tensor:
        """Sums over windows of what each frame has [B, X, ...]: [W, B, Q, ...], in float64."""
        running = functional.pad(of_each.double().flatten(2).cumsum(1), (0, 0, 1, 0))
        sums = [
            running[self.row_B1, last] - running[self.row_B1, first] for first, last in zip(since, until, strict=True)
        ]
        return torch.stack(sums).unflatten(-1, of_each.shape[2:])


def _of_bands(curve: LightCurve, windows: Windows, weight_BX: Tensor, mag_BX: Tensor) -> Tensor:
    """Of each band: detections, slopes of a month, of ten days and of the first eight, curvature of the month."""
    month, end, recent = windows.month_start_BQ, windows.end_BQ, windows.starts[0]
    t, m = curve.time_BT.double(), mag_BX.double()
    moments_BXM = torch.stack([torch.ones_like(t), t, t**2, t**3, t**4, m, t * m, t**2 * m], -1) * weight_BX.unsqueeze(
        -1
    )
    count_BX1 = (weight_BX > 0).double().unsqueeze(-1)
    band_BXL = functional.one_hot(curve.band_BT, len(BANDS))
    moments_BXLM = torch.cat([moments_BXM, count_BX1], -1).unsqueeze(2) * band_BXL.unsqueeze(-1)
    young_end_BQ = torch.maximum(windows.young_end_BQ, windows.first_BQ)
    totals = windows.totals(moments_BXLM, (month, recent, windows.first_BQ), (end, end, young_end_BQ))
    slope_WBQL, curvature_WBQL = fitted(totals)
    numbers = [
        torch.log1p(totals[0, ..., 8]) / 3,
        *torch.asinh(10 * slope_WBQL).unbind(0),
        torch.asinh(100 * curvature_WBQL[0]),
    ]
    return torch.stack(numbers, -1).flatten(2).float()


def fitted(totals: Tensor) -> tuple[Tensor, Tensor]:
    """Slope (mag/d) of a line, curvature (mag/d^2) of a parabola through points, from their weighted moments."""
    weight, t1, t2, t3, t4, m0, m1, m2 = totals[..., :8].unbind(-1)
    t1, t2, t3, t4, m0, m1, m2 = (x / weight.clamp(min=1e-9) for x in (t1, t2, t3, t4, m0, m1, m2))
    second = (t2 - t1**2).clamp(min=0)
    third = t3 - 3 * t1 * t2 + 2 * t1**3
    fourth = t4 - 4 * t1 * t3 + 6 * t1**2 * t2 - 3 * t1**4 - second**2
    line = m1 - t1 * m0
    parabola = m2 - 2 * t1 * m1 + t1**2 * m0 - second * m0
    determinant = (second * fourth - third**2).clamp(min=0)
    seen = weight > 0
    slope = torch.where(seen, line / (second + SLOPE_RIDGE_D2), 0.0)
    curvature = torch.where(seen, (second * parabola - third * line) / (determinant + CURVATURE_RIDGE_D6), 0.0)
    return slope, curvature


def _of_pairs(curve: LightCurve, windows: Windows, detected_BX: Tensor, mag_BX: Tensor) -> Tensor:
    """Of each pair of neighbouring bands: pairs, mean and slope of their colour, and the last and the first days'."""
    band_BX, time_BX = curve.band_BT, curve.time_BT
    step_BXX = band_BX.unsqueeze(2) - band_BX.unsqueeze(1)
    before_BXX = windows.index_X.unsqueeze(1) > windows.index_X
    near_BXX = before_BXX & (time_BX.unsqueeze(2) - time_BX.unsqueeze(1) < SAME_COLOUR_D)
    near_BXX = near_BXX & detected_BX.unsqueeze(1) & detected_BX.unsqueeze(2)
    colours, seen = [], []
    for step in (1, -1):  # the partner is of the band below, then of the band above
        partner_BX = torch.where(near_BXX & (step_BXX == step), windows.index_X, -1).amax(-1)
        difference_BX = step * (mag_BX.gather(1, partner_BX.clamp(min=0)) - mag_BX)
        pair_BXP = functional.one_hot((band_BX - (step + 1) // 2).clamp(min=0), len(BANDS))[..., :PAIRS]
        seen.append(pair_BXP * (partner_BX >= 0).unsqueeze(-1))
        colours.append(difference_BX.unsqueeze(-1) * seen[-1])
    seen_BXP, colour_BXP = (seen[0] + seen[1]).double(), (colours[0] + colours[1]).double()
    t = time_BX.double().unsqueeze(-1)
    moments_BXPM = torch.stack([seen_BXP, seen_BXP * t, seen_BXP * t**2, colour_BXP, colour_BXP * t], -1)
    young_end_BQ = torch.maximum(windows.young_end_BQ, windows.first_BQ)
    since = (windows.month_start_BQ, windows.starts[1], windows.first_BQ)
    totals = windows.totals(moments_BXPM, since, (windows.end_BQ, windows.end_BQ, young_end_BQ))
    count, t1, t2, m0, m1 = totals.unbind(-1)
    mean_WBQP, t1, t2, m1 = (x / count.clamp(min=1) for x in (m0, t1, t2, m1))
    slope_BQP = ((m1 - t1 * mean_WBQP) / ((t2 - t1**2).clamp(min=0) + SLOPE_RIDGE_D2))[0]
    numbers = [
        torch.log1p(count[0]) / 3,
        mean_WBQP[0],
        torch.asinh(10 * slope_BQP),
        mean_WBQP[1],
        (count[1] > 0).double(),
        mean_WBQP[2],
    ]
    return torch.stack(numbers, -1).flatten(2).float().clamp(-3, 3)


def _of_all(curve: LightCurve, windows: Windows, sigma_BX: Tensor, mag_BX: Tensor) -> Tensor:
    """Of all bands together: age, peak, how far from it, limits before the first detection, signs."""
    time_BX, index_X, month_BQX = curve.time_BT, windows.index_X, windows.month_BQX
    limit_BX = curve.mask_BT & (curve.flux_error_BT > 0) & (sigma_BX.abs() <= DETECTED_SIGMA)
    negative_BX = sigma_BX < -DETECTED_SIGMA
    peak_BQ = torch.where(windows.of_all_BQX, mag_BX.unsqueeze(1), math.inf).argmin(-1)
    first_mag, last_mag, peak_mag = (
        torch.where(windows.some_BQ, mag_BX.gather(1, at), 0.0) for at in (windows.first_BQ, windows.ends_BQ, peak_BQ)
    )
    peak_time_BQ = torch.where(windows.some_BQ, time_BX.gather(1, peak_BQ), windows.now_BQ)
    depth_BX = -2.5 * torch.log10((5 * curve.flux_error_BT / ZERO_MAG_NJY).clamp(min=1e-6))
    before_BQX = month_BQX & limit_BX.unsqueeze(1) & (index_X < windows.first_BQ.unsqueeze(-1))
    deep_BQX = before_BQX & (depth_BX.unsqueeze(1) > first_mag.unsqueeze(-1) + DEEPER_MAG)
    numbers = []
    for some_BQX in (before_BQX, deep_BQX):
        newest_BQ = torch.where(some_BQX, index_X, -1).amax(-1)
        found_BQ, at_BQ = newest_BQ >= 0, newest_BQ.clamp(min=0)
        gap_BQ = (windows.first_time_BQ - time_BX.gather(1, at_BQ)).clamp(min=0)
        depth_BQ = (depth_BX.gather(1, at_BQ) - first_mag).clamp(-3, 3)
        numbers += [torch.where(found_BQ, x, 0.0) for x in (torch.log1p(gap_BQ) / 2, depth_BQ)] + [found_BQ.float()]
    detections_BQ = windows.of_all_BQX.sum(-1)
    told_BQ = month_BQX.sum(-1).clamp(min=1)
    nights_BQ = (detections_BQ + (month_BQX & negative_BX.unsqueeze(1)).sum(-1)).clamp(min=1)
    return torch.stack(
        [
            *numbers,
            torch.log1p(before_BQX.sum(-1)) / 3,
            torch.log1p((windows.now_BQ - windows.first_time_BQ).clamp(min=0)) / 2,
            torch.log1p((windows.now_BQ - peak_time_BQ).clamp(min=0)) / 2,
            torch.log1p((peak_time_BQ - windows.first_time_BQ).clamp(min=0)) / 2,
            torch.log1p(detections_BQ) / 3,
            peak_mag / 3,
            first_mag - peak_mag,
            last_mag - peak_mag,
            detections_BQ / told_BQ,
            detections_BQ / nights_BQ,
            torch.tanh(sigma_BX.gather(1, windows.ends_BQ) / 10),
        ],
        -1,
    )

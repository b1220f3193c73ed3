"""Fluxes of each frame as numbers of order one, by themselves and against earlier frames only.

Legend: ``B`` objects, ``T`` frames.
"""

import math

import torch
from torch import Tensor

from model.networks.contract import LightCurve
from model.networks.layers.light_curve_statistics import FLUX_UNIT_NJY

FLUX_FEATURES, BASELINE_FEATURES = 7, 3


def baseline_features(curve: LightCurve) -> Tensor:
    """Flux above the faintest of the band so far, in three measures; nothing later is read: [B, T, 3]."""
    known_BT = curve.mask_BT & (curve.flux_error_BT > 0)
    index_T = torch.arange(known_BT.shape[1], device=known_BT.device)
    until_BTT = (index_T[:, None] >= index_T[None, :]) & (curve.band_BT[:, :, None] == curve.band_BT[:, None, :])
    until_BTT = until_BTT & known_BT[:, None, :]
    faintest_BT = curve.flux_BT[:, None, :].masked_fill(~until_BTT, math.inf).amin(-1)
    above_BT = torch.where(known_BT, curve.flux_BT - faintest_BT, 0.0)
    error_BT = torch.where(known_BT, curve.flux_error_BT, 1.0)
    highest_BT = above_BT[:, None, :].masked_fill(~until_BTT, 0.0).amax(-1)
    features = [
        torch.asinh(above_BT / FLUX_UNIT_NJY) / 3,
        torch.asinh(above_BT / error_BT) / 3,
        above_BT / highest_BT.clamp(min=1e-6),
    ]
    return torch.stack(features, -1)


def flux_features(curve: LightCurve) -> Tensor:
    """What photometry says of each frame, and of its change against earlier frames only: [B, T, FLUX_FEATURES]."""
    known_BT = curve.mask_BT & (curve.flux_error_BT > 0)
    flux_BT = torch.where(known_BT, curve.flux_BT, 0.0)
    error_BT = torch.where(known_BT, curve.flux_error_BT, 1.0)
    weight_BT = torch.where(known_BT, (FLUX_UNIT_NJY / error_BT).clamp(1e-3, 1e3).square(), 0.0)
    index_T = torch.arange(flux_BT.shape[1], device=flux_BT.device)
    before_BTT = (index_T[:, None] > index_T[None, :]) & (curve.band_BT[:, :, None] == curve.band_BT[:, None, :])
    weight_BTT = before_BTT * weight_BT[:, None, :]
    total_BT = weight_BTT.sum(-1)
    mean_BT = (weight_BTT * flux_BT[:, None, :]).sum(-1) / total_BT.clamp(min=1e-12)
    seen_BT = known_BT & (total_BT > 0)
    spread_BT = torch.sqrt(error_BT.square() + FLUX_UNIT_NJY**2 / total_BT.clamp(min=1e-6))
    change_BT = torch.where(seen_BT, (flux_BT - mean_BT) / spread_BT, 0.0)
    until_TT = index_T[:, None] >= index_T[None, :]
    largest_BT = (until_TT * flux_BT.abs()[:, None, :]).amax(-1)
    features = [
        torch.asinh(flux_BT / FLUX_UNIT_NJY) / 3,
        torch.where(known_BT, torch.asinh(error_BT / FLUX_UNIT_NJY), 0.0) / 3,
        torch.asinh(flux_BT / error_BT) / 3,
        torch.asinh(change_BT) / 3,
        torch.where(seen_BT, torch.asinh((flux_BT - mean_BT) / FLUX_UNIT_NJY), 0.0) / 3,
        flux_BT / largest_BT.clamp(min=1e-6),
        known_BT.to(flux_BT.dtype),
    ]
    return torch.stack(features, -1)

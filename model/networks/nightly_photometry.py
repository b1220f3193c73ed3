"""Fluxes of a series as a table with one row per night, which the light-curve networks read instead of pixels.

Point-source fluxes of direct images hold the host's light, a hundred times what a supernova adds; the light curves that
these networks were made for do not. So the mean flux of each object and band is taken off first, and what remains is
compressed by asinh. Standardised without both, an LSTM stayed near chance.

Legend: ``B`` objects, ``T`` frames, ``N`` nights, ``L`` bands of the network, ``K`` classes.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from model.networks.contract import Frames, LightCurve
from model.networks.grouped import GroupedNetwork
from model.series import BANDS, MAD_TO_SIGMA

SMALLEST_ERROR_NJY = 1e-3
LOG_FLOOR = 1e-5  # SuperNNova's, in units of FLUXCAL
NJY_PER_FLUXCAL = 10 ** ((31.4 - 27.5) / 2.5)  # SNANA's flux unit has zero point 27.5


class LightCurveNetwork(GroupedNetwork):
    """A network whose embedding of a frame is empty: all that it reads is in the light curve.

    So ``embed`` costs nothing, and ``classify`` reads the whole light curve anew at each update.
    """

    group_size = 1
    embedding_shape = (0,)

    def embed(self, frames: Frames) -> Tensor:
        return frames.scale_BTC.new_zeros((len(frames.scale_BTC), 0))

    def embed_series(self, frames: Frames) -> Tensor:
        return frames.scale_BTC.new_zeros((*frames.curve.mask_BT.shape, 0))


@dataclass(frozen=True, slots=True)
class Nights:
    """Light curves with one row per night, in time order, padded at the end."""

    flux_BNL: Tensor  # nJy, 0 where the band was not measured
    error_BNL: Tensor  # nJy, 0 where the band was not measured
    measured_BNL: Tensor  # bool
    day_BN: Tensor  # days since the first frame, the mean of the night
    mask_BN: Tensor  # bool, True for real nights


def without_host(curve: LightCurve) -> LightCurve:
    """The curve with the weighted mean flux of each object and band taken off; its own frames are all it uses."""
    known_BT = curve.mask_BT & (curve.flux_error_BT > 0)
    weight_BT = torch.where(known_BT, curve.flux_error_BT.clamp(min=SMALLEST_ERROR_NJY).square().reciprocal(), 0.0)
    shape = (len(weight_BT), len(BANDS))
    total_BL = weight_BT.new_zeros(shape).scatter_add(1, curve.band_BT, weight_BT)
    sum_BL = weight_BT.new_zeros(shape).scatter_add(1, curve.band_BT, weight_BT * curve.flux_BT)
    mean_BT = (sum_BL / total_BL.clamp(min=1e-30)).gather(1, curve.band_BT)
    flux_BT = torch.where(known_BT, curve.flux_BT - mean_BT, 0.0)
    return LightCurve(curve.band_BT, curve.time_BT, flux_BT, curve.flux_error_BT, curve.mask_BT)


def tabulate(curve: LightCurve, bands: str, *, best: bool) -> Nights:
    """One row per night, without the host: frames whose times, counted from the first, round to the same day.

    Parameters
    ----------
    bands
        Columns, letters of ``model.series.BANDS``; other frames are left out.
    best
        Of several frames of a band in a night keep the one with the smallest error; else their weighted mean.
    """
    curve = without_host(curve)
    rows, length = curve.mask_BT.shape
    column = torch.full((len(BANDS),), -1, device=curve.band_BT.device)
    for index, band in enumerate(bands):
        column[BANDS.index(band)] = index
    column_BT = column[curve.band_BT]
    used_BT = curve.mask_BT & (curve.flux_error_BT > 0) & (column_BT >= 0)
    night_BT = curve.time_BT.round()
    starts_BT = torch.ones_like(used_BT)
    starts_BT[:, 1:] = night_BT[:, 1:] != night_BT[:, :-1]
    row_BT = (starts_BT & curve.mask_BT).long().cumsum(1).clamp(min=1) - 1
    cell_BT = row_BT * len(bands) + column_BT.clamp(min=0)
    error_BT = curve.flux_error_BT.clamp(min=SMALLEST_ERROR_NJY)
    weight_BT = torch.where(used_BT, error_BT.square().reciprocal(), 0.0)

    def add(values_BT: Tensor, index_BT: Tensor, columns: int) -> Tensor:
        return values_BT.new_zeros((rows, length * columns)).scatter_add(1, index_BT, values_BT)

    if best:
        largest = weight_BT.new_zeros((rows, length * len(bands)))
        largest = largest.scatter_reduce(1, cell_BT, weight_BT, "amax", include_self=True)
        chosen_BT = used_BT & (weight_BT == largest.gather(1, cell_BT))
        count = add(chosen_BT.to(weight_BT.dtype), cell_BT, len(bands)).gather(1, cell_BT)
        weight_BT = torch.where(chosen_BT, weight_BT / count.clamp(min=1), 0.0)  # equal errors share one measurement
    total = add(weight_BT, cell_BT, len(bands))
    flux = add(weight_BT * curve.flux_BT, cell_BT, len(bands)) / total.clamp(min=1e-30)
    error = torch.where(total > 0, total.clamp(min=1e-30).rsqrt(), 0.0)
    real_BT = curve.mask_BT.to(weight_BT.dtype)
    frames_BN = add(real_BT, row_BT, 1)
    day_BN = add(real_BT * curve.time_BT, row_BT, 1) / frames_BN.clamp(min=1)
    shape = (rows, length, len(bands))
    nights = Nights(
        torch.where(total > 0, flux, 0.0).reshape(shape),
        error.reshape(shape),
        (total > 0).reshape(shape),
        day_BN,
        frames_BN > 0,
    )
    longest = max(1, int(nights.mask_BN.sum(1).max()))
    return Nights(*(getattr(nights, name)[:, :longest] for name in Nights.__slots__))


class FluxStandard(nn.Module):
    """asinh((flux − mean) / sigma) by band; 0 where the band was not measured."""

    def __init__(self, mean_njy: tuple[float, ...], sigma_njy: tuple[float, ...], bands: str) -> None:
        super().__init__()
        index = [BANDS.index(band) for band in bands]
        self.mean_L: Tensor
        self.sigma_L: Tensor
        self.register_buffer("mean_L", torch.tensor([mean_njy[i] for i in index]), persistent=False)
        self.register_buffer("sigma_L", torch.tensor([sigma_njy[i] for i in index]), persistent=False)

    def forward(self, nights: Nights) -> Tensor:
        """[B, N, L]."""
        return torch.where(nights.measured_BNL, torch.asinh((nights.flux_BNL - self.mean_L) / self.sigma_L), 0.0)


def measure_photometry(curve: LightCurve) -> dict[str, Any]:
    """The settings by which the light-curve networks standardise, measured on training objects.

    Returns ``flux_mean_njy`` and ``flux_sigma_njy`` (median and robust deviation without the host, one value per band
    of ``model.series.BANDS``), and for SuperNNova ``log_flux``, ``log_error`` and ``log_interval``: (a floor, mean and
    standard deviation of the logarithm above it), fluxes in FLUXCAL and intervals in days.
    :func:`model.networks.registry.accepted` picks what a network has.
    """
    curve = without_host(curve)
    known_BT = curve.mask_BT & (curve.flux_error_BT > 0)
    middle, spread = [], []
    for band in range(len(BANDS)):
        flux = curve.flux_BT[known_BT & (curve.band_BT == band)]
        flux = flux if len(flux) > 1 else curve.flux_BT[known_BT]
        middle.append(float(flux.median()))
        spread.append(max(MAD_TO_SIGMA * float((flux - flux.median()).abs().median()), SMALLEST_ERROR_NJY))
    interval = (curve.time_BT[:, 1:] - curve.time_BT[:, :-1])[curve.mask_BT[:, 1:]]
    return {
        "flux_mean_njy": tuple(middle),
        "flux_sigma_njy": tuple(spread),
        "log_flux": log_moments(curve.flux_BT[known_BT] / NJY_PER_FLUXCAL),
        "log_error": log_moments(curve.flux_error_BT[known_BT] / NJY_PER_FLUXCAL),
        "log_interval": log_moments(torch.cat([interval[interval > 0.5], interval.new_zeros(1)])),
    }


def log_moments(values: Tensor) -> tuple[float, float, float]:
    """A floor a little under the 1 % quantile, then mean and standard deviation of ln(value − floor) above it.

    The authors take the smallest value; one bright variable star would then set the scale of all supernovae.
    """
    ordered = values.sort().values
    low, high = ordered[len(ordered) // 100], ordered[-1 - len(ordered) // 100]
    smallest = low - 0.05 * (high - low)
    logs = torch.log((values[values >= low] - smallest).clamp(min=0) + LOG_FLOOR)
    return float(smallest), float(logs.mean()), max(float(logs.std()), LOG_FLOOR)

"""Flaws of detectors and pipelines in a stamp. Knows no source and no class.

Legend: ``C`` channels, ``H W`` pixels. Every rate is per stamp and the same for every class of object, so that no
flaw tells a class. What marks a pixel as unmeasured is NaN, in all channels alike.

The rates of ZTF's masks and edges are measured on 817 real alerts: 16 % of the whole stamps have masked pixels (strips
at an edge, square blocks around saturated or dead pixels), 3 % are cut short by the edge of the detector, 3 % have dark
rows, and a tenth of the templates' stars above 3000 DN lack a pixel. The other rates are choices.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter

from model.simulation.images.noise import robust_sigma
from model.simulation.survey.psf import FWHM_PER_SIGMA

Window = tuple[int, int, int, int]  # first and past-the-last row, first and past-the-last column

SATURATION_MASK_PX = 7  # side of what is masked around every saturated pixel
PATTERN_TURNING = 0.77  # amplitude of what changes sign from row to row, over what does not
CORE_ROWS = 2  # from a star's brightest pixel to the one that a template lost
DARK_ROWS = 4  # at most, beside an edge of the detector
MOST_LIGHT_LEFT = 0.8
MASK_BLOCKS_PX = (7, 12, 12, 12, 16, 18)  # sides of the square masks seen in real ZTF stamps


@dataclass(frozen=True, slots=True)
class Flaws:
    """How often, or how strongly, one survey's stamps are flawed."""

    cosmic_ray: float  # mean number left in a stamp after the survey's cleaning
    bad_column: float  # chance
    trail: float  # chance of a satellite's trail
    edge_mask: float  # chance of an unmeasured strip along one side
    block_mask: float  # chance of unmeasured square blocks
    cut_short: float  # chance that the stamp is smaller than usual: it ends at the detector's edge
    gradient: float  # rms of the background's tilt across the stamp, in units of the pixel noise
    pedestal: float  # rms of the background's error, in units of the pixel noise
    pedestal_tail: float  # 0: those errors are normal; 1 and more: large ones are more common
    calibration: float  # rms error of the flux scale of a visit, as a fraction
    # Variance of a readout pattern of period 3 along rows, over the noise's: median, dex of scatter, most.
    pattern: tuple[float, float, float]
    correlation: tuple[float, float]  # of a pixel's noise with that of the pixel beside it: mean, sd over visits
    masks_saturation: bool  # saturated cores are masked by a block (else only clipped)
    confusion: float = 0.0  # rms of the background's error where stars crowd, over the spread of their light
    dark_edge: float = 0.0  # chance that the rows beside an unmeasured strip have lost light
    # Chance that a template lost a pixel beside the core of a star brighter than this, nJy per pixel.
    dark_core: tuple[float, float] = (0.0, np.inf)


FLAWS = {
    "sdss": Flaws(0.008, 0.005, 0.001, 0.01, 0.0, 0.0, 0.1, 0.05, 0.0, 0.02, (0.0, 0.0, 0.0), (0.0, 0.0), False),
    "ztf": Flaws(
        cosmic_ray=0.03,
        bad_column=0.005,
        trail=0.002,
        edge_mask=0.07,
        block_mask=0.10,
        cut_short=0.032,
        gradient=0.02,
        pedestal=0.03,
        pedestal_tail=1.0,
        confusion=0.18,
        calibration=0.014,
        pattern=(0.001, 1.25, 0.09),
        correlation=(-0.05, 0.03),
        masks_saturation=True,
        dark_edge=0.35,
        dark_core=(0.1, 3.4e5),
    ),
    "lsst": Flaws(0.01, 0.002, 0.002, 0.01, 0.0, 0.0, 0.1, 0.05, 0.0, 0.005, (0.0, 0.0, 0.0), (0.0, 0.0), False),
}


def read_out(noise_HW: NDArray[np.float32], flaws: Flaws, rng: np.random.Generator) -> NDArray[np.float32]:
    """White noise of unit variance as a camera's electronics leave it: correlated along rows, with a pattern."""
    mean, spread = flaws.correlation
    if mean == spread == 0:
        return noise_HW
    strength = mean + spread * rng.standard_normal()
    with_left_HW = noise_HW.copy()
    with_left_HW[:, 1:] += np.float32(strength) * noise_HW[:, :-1]
    with_left_HW[:, 1:] *= np.float32(1 / np.sqrt(1 + strength**2))
    return with_left_HW + _pattern(len(noise_HW), flaws, rng)


def _pattern(size: int, flaws: Flaws, rng: np.random.Generator) -> NDArray[np.float32]:
    """Every third column brighter or darker, in part with the sign changing from row to row."""
    median, scatter_dex, most = flaws.pattern
    variance = min(median * 10 ** (scatter_dex * rng.standard_normal()), most)
    phase_2 = rng.uniform(0, 2 * np.pi, 2)
    steady_W, turning_W = np.sqrt(2 * variance) * np.cos(2 * np.pi * np.arange(size) / 3 + phase_2[:, None])
    turn_H1 = PATTERN_TURNING * (-1.0) ** np.arange(size)[:, None]
    return np.asarray(steady_W + turn_H1 * turning_W, np.float32)


def add(
    pixels_CHW: NDArray[np.float32],
    channels: Sequence[str],
    signal_HW: NDArray[np.float32],
    sigma: float,
    saturation: float,
    fwhm_px: float,
    flaws: Flaws,
    rng: np.random.Generator,
) -> Window:
    """Add every flaw in place.

    Parameters
    ----------
    signal_HW
        Noise-free science image, nJy per pixel: tells what saturates.
    sigma
        Noise of a background pixel of the science image, nJy.
    saturation
        Pixel value at which the detector saturates, nJy.

    Returns
    -------
    window
        The part of the stamp that lies on the detector; a survey delivers no more than that.
    """
    size = pixels_CHW.shape[-1]
    observed = [c for c, channel in enumerate(channels) if channel != "template"]
    # Columns and rows apart until the end: most stamps have no flaw that needs more.
    tilt_x, tilt_y, level, scale = rng.standard_normal(4)
    if flaws.pedestal_tail > 0:
        level = np.sinh(flaws.pedestal_tail * level) / flaws.pedestal_tail
    pedestal = flaws.pedestal
    if flaws.confusion > 0:
        spread = robust_sigma(signal_HW) / sigma
        pedestal = float(np.hypot(pedestal, flaws.confusion * spread))
    axis = np.linspace(-0.5, 0.5, size, dtype=np.float32)
    column_W = sigma * (flaws.gradient * tilt_x * axis + pedestal * level)
    row_H = sigma * flaws.gradient * tilt_y * axis
    plane_HW = np.float32(flaws.calibration * scale) * signal_HW
    plane_HW += column_W.astype(np.float32)
    plane_HW += row_H.astype(np.float32)[:, None]
    for _ in range(rng.poisson(flaws.cosmic_ray)):
        _add_cosmic_ray(plane_HW, sigma, rng)
    if rng.random() < flaws.trail:
        plane_HW += np.float32(sigma) * _trail(size, fwhm_px, rng)
    pixels_CHW[observed] += plane_HW
    _saturate(pixels_CHW, channels, signal_HW, saturation, flaws)
    return _mask(pixels_CHW, channels, flaws, rng)


def lose_core_pixel(
    template_HW: NDArray[np.float32], light_HW: NDArray[np.float32], flaws: Flaws, rng: np.random.Generator
) -> None:
    """Take the light of a pixel beside the brightest star's core from a template, in place."""
    chance, brightness = flaws.dark_core
    row, column = np.unravel_index(np.argmax(light_HW), light_HW.shape)
    if rng.random() < chance and light_HW[row, column] > brightness and row >= CORE_ROWS:
        template_HW[row - CORE_ROWS, column] -= light_HW[row - CORE_ROWS, column]


def _add_cosmic_ray(image_HW: NDArray[np.float32], sigma: float, rng: np.random.Generator) -> None:
    """A short straight track, unsmeared by the PSF."""
    size = len(image_HW)
    length, angle = rng.exponential(3.0) + 1, rng.uniform(0, np.pi)
    along = np.arange(0, length, 0.5)
    start = rng.uniform(0, size, 2)
    columns = np.floor(start[0] + along * np.cos(angle)).astype(int)
    rows = np.floor(start[1] + along * np.sin(angle)).astype(int)
    inside = (columns >= 0) & (columns < size) & (rows >= 0) & (rows < size)
    image_HW[rows[inside], columns[inside]] += sigma * rng.lognormal(3.0, 0.8)


def _trail(size: int, fwhm_px: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """A satellite's straight line through the stamp, in units of the pixel noise."""
    angle, offset = rng.uniform(0, np.pi), rng.uniform(-0.5, 0.5) * size
    axis = np.arange(size) - size // 2
    across_HW = axis * np.sin(angle) - axis[:, None] * np.cos(angle) - offset
    return (rng.lognormal(2.0, 0.7) * np.exp(-0.5 * (across_HW * FWHM_PER_SIGMA / fwhm_px) ** 2)).astype(np.float32)


def _saturate(
    pixels_CHW: NDArray[np.float32],
    channels: Sequence[str],
    signal_HW: NDArray[np.float32],
    saturation: float,
    flaws: Flaws,
) -> None:
    if signal_HW.max() <= saturation:
        return
    saturated_HW = signal_HW > saturation
    if flaws.masks_saturation:
        pixels_CHW[:, maximum_filter(saturated_HW, SATURATION_MASK_PX)] = np.nan
        return
    science = [c for c, channel in enumerate(channels) if channel == "science"]
    pixels_CHW[science] = np.minimum(pixels_CHW[science], np.float32(saturation))
    # Charge bleeds along the columns, the farther the brighter.
    reach = int(4 * signal_HW.max() / saturation)
    bleeding_HW = maximum_filter(saturated_HW, (min(2 * reach + 1, 2 * len(signal_HW) + 1), 1))
    for c in science:
        pixels_CHW[c][bleeding_HW] = saturation


def _mask(pixels_CHW: NDArray[np.float32], channels: Sequence[str], flaws: Flaws, rng: np.random.Generator) -> Window:
    """Unmeasured pixels; never the central one, where the survey found its source."""
    size = pixels_CHW.shape[-1]
    if rng.random() < flaws.bad_column:
        column = int(rng.integers(size))
        if column != size // 2:
            pixels_CHW[:, :, column] = np.nan
    if rng.random() < flaws.edge_mask:
        lost = int(rng.uniform(0.1, 0.48) * size)
        window = _window(size, lost, rng)
        _darken_edge(pixels_CHW, channels, window, flaws, rng)
        _outside(pixels_CHW, window)
    if rng.random() < flaws.block_mask:
        for _ in range(1 + rng.poisson(0.25)):
            side = MASK_BLOCKS_PX[rng.integers(len(MASK_BLOCKS_PX))]
            row, column = rng.integers(-side // 2, size, 2)
            if max(abs(row + side / 2 - size // 2), abs(column + side / 2 - size // 2)) > side / 2 + 1:
                pixels_CHW[:, max(row, 0) : row + side, max(column, 0) : column + side] = np.nan
    window = (0, size, 0, size)
    if rng.random() < flaws.cut_short:
        window = _window(size, int(rng.uniform(0.03, 0.32) * size) + 1, rng)
        _darken_edge(pixels_CHW, channels, window, flaws, rng)
        _outside(pixels_CHW, window)
    return window


def _darken_edge(
    pixels_CHW: NDArray[np.float32],
    channels: Sequence[str],
    window: Window,
    flaws: Flaws,
    rng: np.random.Generator,
) -> None:
    """Rows or columns beside an edge of the detector have lost light."""
    if flaws.dark_edge <= 0 or rng.random() >= flaws.dark_edge:
        return
    size, deep, left = pixels_CHW.shape[-1], int(rng.integers(1, DARK_ROWS + 1)), rng.uniform(0, MOST_LIGHT_LEFT)
    top, bottom, first, last = (
        edge if edge in (0, size) else edge + (-deep if far else deep)
        for edge, far in zip(window, (False, True, False, True), strict=True)
    )
    dark_HW = np.ones((size, size), bool)
    dark_HW[top:bottom, first:last] = False
    for c, channel in enumerate(channels):
        if channel != "difference":
            pixels_CHW[c, dark_HW] *= np.float32(left)


def _window(size: int, lost: int, rng: np.random.Generator) -> Window:
    side, seen = rng.integers(4), size - lost
    return ((lost, size, 0, size), (0, seen, 0, size), (0, size, lost, size), (0, size, 0, seen))[side]


def _outside(pixels_CHW: NDArray[np.float32], window: Window) -> None:
    top, bottom, left, right = window
    pixels_CHW[:, :top] = np.nan
    pixels_CHW[:, bottom:] = np.nan
    pixels_CHW[:, :, :left] = np.nan
    pixels_CHW[:, :, right:] = np.nan


def bogus(kind: str, size: int, x: float, y: float, fwhm_px: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """What a difference image took for a source, in a science and its difference image.

    Parameters
    ----------
    kind
        ``cosmic_ray``, ``bad_column``, ``satellite`` or ``ghost``; dipoles come of the subtraction itself.
    x, y
        Where, pixels from the central pixel.

    Returns
    -------
    image_HW : of unit brightness at its brightest pixel.
    """
    axis = np.arange(size) - size // 2
    x_W, y_H1 = axis - x, (axis - y)[:, None]
    if kind == "cosmic_ray":
        image_HW = np.zeros((size, size), np.float32)
        angle, along = rng.uniform(0, np.pi), np.arange(0, rng.exponential(3.0) + 0.6, 0.5)
        columns = np.clip(np.round(x + size // 2 + along * np.cos(angle)), 0, size - 1).astype(int)
        rows = np.clip(np.round(y + size // 2 + along * np.sin(angle)), 0, size - 1).astype(int)
        image_HW[rows, columns] = rng.uniform(0.5, 1.0, len(along))
        return image_HW / image_HW.max()
    if kind == "bad_column":
        return np.broadcast_to(np.round(np.abs(x_W)) == 0, (size, size)).astype(np.float32)
    if kind == "satellite":
        angle = rng.uniform(0, np.pi)
        across_HW = x_W * np.sin(angle) - y_H1 * np.cos(angle)
        return np.exp(-0.5 * (across_HW * FWHM_PER_SIGMA / fwhm_px) ** 2).astype(np.float32)
    if kind == "ghost":
        radius = rng.uniform(2, 5) * fwhm_px
        distance_HW = np.hypot(x_W - radius * 0.3, y_H1) / radius
        return (1 / (1 + np.exp(8 * (distance_HW - 1)))).astype(np.float32)
    raise ValueError(f"artefact {kind!r} is not one of cosmic_ray, bad_column, satellite, ghost")

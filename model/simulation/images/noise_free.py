"""Noise-free images of Gaussians and point sources, in numpy. Knows neither sky nor noise.

Legend: ``N`` images, ``H W`` pixels; see ``profiles`` for the rest.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.special import erf

from model.simulation.images.profiles import Gaussians, Points

CHUNK_PIXELS = 1 << 16  # pixels worked on at once: they stay in the processor's second-level cache


def render_images(gaussians: Gaussians, points: Points, size_px: int) -> NDArray[np.float32]:
    """Draw every image.

    Parameters
    ----------
    gaussians, points
        What to draw in each of N images.
    size_px
        Rows and columns of an image.

    Returns
    -------
    image_NHW : nJy per pixel.
    """
    count = len(points.flux_NS)
    image_NHW = np.empty((count, size_px, size_px), np.float32)
    chunk = max(1, CHUNK_PIXELS // size_px**2)
    for start in range(0, count, chunk):
        rows = slice(start, min(start + chunk, count))
        _draw_points(points, rows, image_NHW[rows])
        _add_gaussians(gaussians, rows, image_NHW[rows])
    return image_NHW


def _add_gaussians(gaussians: Gaussians, rows: slice, image_NHW: NDArray[np.float32]) -> None:
    size = image_NHW.shape[-1]
    axis = np.arange(size, dtype=np.float32) - size // 2
    height_NK = gaussians.flux_NK[rows] / (2 * np.pi)
    height_NK = height_NK * np.sqrt(gaussians.a_NK[rows] * gaussians.c_NK[rows] - gaussians.b_NK[rows] ** 2)
    # The height goes into the exponent: one pass fewer. A tiny height in place of zero keeps the logarithm finite.
    log_NK = np.log(np.maximum(height_NK, np.float32(1e-30)))
    middle = size // 2
    for k in range(height_NK.shape[1]):
        top, bottom, left, right = np.clip(gaussians.box_K4[k] + middle, 0, size)
        if top >= bottom or left >= right:
            continue
        x_NW = axis[left:right] - gaussians.x_NK[rows, k, None]
        y_NH = axis[top:bottom] - gaussians.y_NK[rows, k, None]
        across_NW = log_NK[:, k, None] - 0.5 * gaussians.a_NK[rows, k, None] * x_NW**2
        down_NH = -0.5 * gaussians.c_NK[rows, k, None] * y_NH**2
        power_NHW = (-gaussians.b_NK[rows, k, None, None] * x_NW[:, None, :]) * y_NH[:, :, None]
        power_NHW += across_NW[:, None, :]
        power_NHW += down_NH[:, :, None]
        np.exp(power_NHW, out=power_NHW)
        image_NHW[:, top:bottom, left:right] += power_NHW


def _draw_points(points: Points, rows: slice, image_NHW: NDArray[np.float32]) -> None:
    size = image_NHW.shape[-1]
    edge = np.arange(size + 1, dtype=np.float32) - np.float32(size // 2 + 0.5)
    scale_NSP1 = 1 / (np.sqrt(2, dtype=np.float32) * points.sigma_NP[rows, None, :, None])
    across_NSPW = 0.5 * np.diff(erf((edge - points.x_NS[rows, :, None, None]) * scale_NSP1), axis=-1)
    down_NSPH = 0.5 * np.diff(erf((edge - points.y_NS[rows, :, None, None]) * scale_NSP1), axis=-1)
    across_NSPW *= points.flux_NS[rows, :, None, None] * points.weight_P[:, None]
    many = (image_NHW.shape[0], -1, size)
    np.matmul(down_NSPH.reshape(many).swapaxes(1, 2), across_NSPW.reshape(many), out=image_NHW)

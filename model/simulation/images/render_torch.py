"""Noise-free images of Gaussians and point sources, in torch on any device. Knows neither sky nor noise.

Legend: ``N`` images, ``H W`` pixels; see ``profiles`` for the rest.
"""

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.simulation.images.profiles import Gaussians, Points

CHUNK_PIXELS_CPU = 1 << 18
CHUNK_PIXELS_ACCELERATOR = 1 << 26  # times four bytes and three buffers: under one GiB


def render_images(gaussians: Gaussians, points: Points, size_px: int, device: str | torch.device = "cpu") -> Tensor:
    """Draw every image.

    Parameters
    ----------
    gaussians, points
        What to draw in each of N images.
    size_px
        Rows and columns of an image.
    device
        Where to draw; the images stay there.

    Returns
    -------
    image_NHW : float32, nJy per pixel, equal to ``render_numpy``'s within 1e-4 of the brightest pixel.
    """
    device = torch.device(device)
    count = len(points.flux_NS)
    image_NHW = torch.empty((count, size_px, size_px), device=device)
    pixels = CHUNK_PIXELS_CPU if device.type == "cpu" else CHUNK_PIXELS_ACCELERATOR
    chunk = max(1, pixels // size_px**2)
    for start in range(0, count, chunk):
        rows = slice(start, min(start + chunk, count))
        image_NHW[rows] = _points(points, rows, size_px, device) + _gaussians(gaussians, rows, size_px, device)
    return image_NHW


def _to(array: NDArray[np.float32], device: torch.device) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array)).to(device)


def _gaussians(gaussians: Gaussians, rows: slice, size: int, device: torch.device) -> Tensor:
    numbers = (gaussians.flux_NK, gaussians.x_NK, gaussians.y_NK, gaussians.a_NK, gaussians.b_NK, gaussians.c_NK)
    flux_NK, x_NK, y_NK, a_NK, b_NK, c_NK = (_to(part[rows], device) for part in numbers)
    axis = torch.arange(size, device=device, dtype=torch.float32) - size // 2
    height_NK = flux_NK / (2 * math.pi) * torch.sqrt(a_NK * c_NK - b_NK**2)
    image_NHW = torch.zeros((len(flux_NK), size, size), device=device)
    for k in range(flux_NK.shape[1]):
        x_N1W = (axis - x_NK[:, k, None])[:, None, :]
        y_NH1 = (axis - y_NK[:, k, None])[:, :, None]
        a, b, c, height = (part[:, k, None, None] for part in (a_NK, b_NK, c_NK, height_NK))
        image_NHW += height * torch.exp(-0.5 * a * x_N1W**2 - 0.5 * c * y_NH1**2 - (b * x_N1W) * y_NH1)
    return image_NHW


def _points(points: Points, rows: slice, size: int, device: torch.device) -> Tensor:
    flux_NS, x_NS, y_NS, sigma_NP = (
        _to(part[rows], device) for part in (points.flux_NS, points.x_NS, points.y_NS, points.sigma_NP)
    )
    edge = torch.arange(size + 1, device=device, dtype=torch.float32) - (size // 2 + 0.5)
    scale_NSP1 = 1 / (math.sqrt(2) * sigma_NP[:, None, :, None])
    across_NSPW = 0.5 * torch.diff(torch.erf((edge - x_NS[:, :, None, None]) * scale_NSP1), dim=-1)
    down_NSPH = 0.5 * torch.diff(torch.erf((edge - y_NS[:, :, None, None]) * scale_NSP1), dim=-1)
    across_NSPW = across_NSPW * flux_NS[:, :, None, None] * _to(points.weight_P, device)[:, None]
    return torch.einsum("nsph,nspw->nhw", down_NSPH, across_NSPW)

"""Small PNG pictures of stamps, for pages."""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from model.pictures.colours import DIVERGING
from model.series import MAD_TO_SIGMA

SIDE_LIMIT_PX = 101  # of what is drawn about the centre: LSST's larger stamps are cut
SOFTENING_SIGMA = 3.0  # the asinh stretch is linear up to here
NOT_OBSERVED = 255  # index in the palette; transparent
LEVELS = 255


def draw(pixels_HW: NDArray[np.float32], diverging: bool) -> bytes:
    """A PNG with an asinh stretch about the median, in units of the robust noise; pixels that are NaN see through.

    Parameters
    ----------
    diverging
        Zero in the middle of two colours, for differences; shades of grey between the 1st and the 99.8th percentile
        otherwise.
    """
    pixels_HW = _middle(pixels_HW)[::-1]
    real_HW = np.isfinite(pixels_HW)
    index_HW = np.full(pixels_HW.shape, NOT_OBSERVED, np.uint8)
    if real_HW.any():
        real = pixels_HW[real_HW].astype(np.float64)
        centre = 0.0 if diverging else float(np.median(real))
        sigma = MAD_TO_SIGMA * float(np.median(np.abs(real - np.median(real)))) or float(np.std(real)) or 1.0
        stretched = np.arcsinh((real - centre) / (SOFTENING_SIGMA * sigma))
        if diverging:
            reach = float(np.abs(stretched).max()) or 1.0
            low, high = -reach, reach
        else:
            low, high = np.percentile(stretched, (1.0, 99.8))
        scaled = np.clip((stretched - low) / max(high - low, 1e-9), 0.0, 1.0)
        index_HW[real_HW] = np.rint(scaled * (LEVELS - 1)).astype(np.uint8)
    image = Image.frombytes("P", (pixels_HW.shape[1], pixels_HW.shape[0]), index_HW.tobytes())
    image.putpalette(_palette(DIVERGING if diverging else ((0, 0, 0), (255, 255, 255))))
    out = io.BytesIO()
    image.save(out, "PNG", transparency=NOT_OBSERVED, compress_level=4)
    return out.getvalue()


def _middle(pixels_HW: NDArray[np.float32]) -> NDArray[np.float32]:
    half = SIDE_LIMIT_PX // 2
    rows, columns = (slice(max(n // 2 - half, 0), n // 2 + half + 1) for n in pixels_HW.shape)
    return pixels_HW[rows, columns]


def _palette(stops: tuple[tuple[int, int, int], ...]) -> list[int]:
    at = np.linspace(0, 1, LEVELS)
    channels = [np.interp(at, np.linspace(0, 1, len(stops)), [stop[c] for stop in stops]) for c in range(3)]
    return [*np.rint(np.stack(channels, -1)).astype(int).ravel().tolist(), 0, 0, 0]

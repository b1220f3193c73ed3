"""Calibrated stamps, each with its WCS and time, cut out of corrected SDSS frames. Fetches nothing.

References
----------
SDSS data model "frame": image in nanomaggies, sky subtracted; header with TAN WCS, TAI of the first row in seconds
since MJD 0, C_OBS the clock of the drift scan in microseconds per row.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS
from numpy.typing import NDArray

from model.clock import SECONDS_PER_DAY
from model.simulation.surveys import NJY_PER_NANOMAGGY

UNITS = ("nanomaggy", "nanomaggies", "nmgy")
ROW_CLOCK_US = 26_322.0  # microseconds per row, where the header does not say


class BadFrameError(Exception):
    """A file that is no corrected frame, or does not show the position."""


@dataclass(frozen=True, slots=True)
class Stamp:
    """Pixels around one position in one band of one scan."""

    pixels_HW: NDArray[np.float32]  # nJy per pixel; NaN off the frame
    time_mjd: float  # TAI, when the position crossed the chip
    x_px: float  # where the position is, pixels from the central pixel
    y_px: float
    wcs: tuple[float, ...]  # CRPIX1 CRPIX2 CRVAL1 CRVAL2 CD1_1 CD1_2 CD2_1 CD2_2 of the stamp, TAN, degrees


def cut_stamp(frame: Path, ra_deg: float, dec_deg: float, size_px: int) -> Stamp:
    """Cut a square about the pixel that holds a position.

    Raises
    ------
    BadFrameError
        When the file is no corrected frame in nanomaggies, or the position is not on it.
    """
    try:
        with fits.open(frame) as units:
            header, image_HW = units[0].header, units[0].data
    except (OSError, ValueError, IndexError) as exc:
        raise BadFrameError(f"{frame.name} is no FITS file: {exc}") from exc
    if image_HW is None or image_HW.ndim != 2:
        raise BadFrameError(f"{frame.name} holds no image")
    unit = str(header.get("BUNIT", "")).strip().lower()
    if unit not in UNITS:
        raise BadFrameError(f"{frame.name} is in {unit or 'no unit'}, not in nanomaggies")
    if "TAI" not in header:
        raise BadFrameError(f"{frame.name} does not say when it was taken: no TAI in its header")
    wcs = WCS(header)
    x, y = (float(v) for v in wcs.all_world2pix(ra_deg, dec_deg, 0))
    column, row = round(x), round(y)
    height, width = image_HW.shape
    if not (0 <= column < width and 0 <= row < height):
        raise BadFrameError(f"{frame.name} does not show ra {ra_deg}, dec {dec_deg}")
    left, bottom = column - size_px // 2, row - size_px // 2
    pixels_HW = np.full((size_px, size_px), np.nan, np.float32)
    rows = slice(max(bottom, 0), min(bottom + size_px, height))
    columns = slice(max(left, 0), min(left + size_px, width))
    target = (slice(rows.start - bottom, rows.stop - bottom), slice(columns.start - left, columns.stop - left))
    pixels_HW[target] = image_HW[rows, columns].astype(np.float32) * np.float32(NJY_PER_NANOMAGGY)
    crpix, crval, cd = wcs.wcs.crpix, wcs.wcs.crval, wcs.pixel_scale_matrix
    seconds = float(header["TAI"]) + y * float(header.get("C_OBS", ROW_CLOCK_US)) * 1e-6
    return Stamp(
        pixels_HW=pixels_HW,
        time_mjd=seconds / SECONDS_PER_DAY,
        x_px=x - column,
        y_px=y - row,
        wcs=(crpix[0] - left, crpix[1] - bottom, *crval, *cd.ravel()),
    )

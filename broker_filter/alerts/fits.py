"""Bytes of a FITS file enter, a view of the pixels of its first image leaves; knows no survey.

Only what survey stamps are made of: a primary image of 32-bit floats without scaling. Further extensions (LSST appends
the variance and the PSF) are never looked at. The header of a file is believed only as far as there are bytes for it.

References
----------
FITS Standard 4.0, sections 4 and 5: https://fits.gsfc.nasa.gov/standard40/fits_standard40aa-le.pdf
"""

import re
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

BLOCK_BYTES = 2880
MAX_HEADER_BYTES = 10 * BLOCK_BYTES  # ZTF uses one block, LSST two
_CARD_BYTES = 80
_FLOAT_BITPIX = -32
_AXES = 2
_END = re.compile(rb"END {77}")
_HEADERS_KEPT = 256


class BadFitsError(ValueError):
    """Not a FITS file of the kind that surveys use for stamps."""


def primary_image(content: bytes, largest_side: int) -> NDArray[np.float32]:
    """View the primary image without copying it.

    Parameters
    ----------
    largest_side
        Pixels; an image with a longer side is refused.

    Returns
    -------
    pixels_HW : big-endian float32, read only.

    Raises
    ------
    BadFitsError
        When the header is none, describes something else, or describes more pixels than there are.
    """
    end = _end_of_header(content)
    height, width = _shape(content[: 5 * _CARD_BYTES], content[5 * _CARD_BYTES : end].find(b"BSCALE  =") >= 0)
    if not (0 < height <= largest_side and 0 < width <= largest_side):
        raise BadFitsError(f"an image of {width} x {height} pixels, sides from 1 to {largest_side}")
    start = -(-end // BLOCK_BYTES) * BLOCK_BYTES
    if start + 4 * height * width > len(content):
        raise BadFitsError(f"header promises {width} x {height} pixels, {max(len(content) - start, 0)} bytes follow it")
    return np.frombuffer(content, ">f4", height * width, start).reshape(height, width)


def _end_of_header(content: bytes) -> int:
    """Return the position behind the END card."""
    at = 0
    while (found := _END.search(content, at, MAX_HEADER_BYTES)) is not None:
        if found.start() % _CARD_BYTES == 0:
            return found.end()
        at = found.start() + 1
    raise BadFitsError(f"no END card within {min(len(content), MAX_HEADER_BYTES)} bytes")


@lru_cache(_HEADERS_KEPT)
def _shape(mandatory: bytes, scaled: bool) -> tuple[int, int]:
    """Return height and width from the first five cards, whose order is fixed; SIMPLE is malformed in ZTF."""
    if scaled:
        raise BadFitsError("pixels are scaled (BSCALE)")
    values = []
    for index, keyword in enumerate((b"BITPIX", b"NAXIS", b"NAXIS1", b"NAXIS2"), start=1):
        card = mandatory[index * _CARD_BYTES : (index + 1) * _CARD_BYTES]
        text = card[10:].partition(b"/")[0].strip()
        if card[:8].strip() != keyword or card[8:9] != b"=" or not text.lstrip(b"-").isdigit():
            raise BadFitsError(f"card {index} is {card[:30]!r} instead of {keyword.decode()}")
        values.append(int(text))
    bitpix, axes, width, height = values
    if bitpix != _FLOAT_BITPIX or axes != _AXES:
        raise BadFitsError(f"BITPIX {bitpix} in {axes} axes, only {_FLOAT_BITPIX} in {_AXES} is read")
    return height, width

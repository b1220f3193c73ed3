"""FITS bytes of pixels, as the two surveys put them into their alerts. Knows nothing of sources or of Avro."""

import gzip
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

BLOCK = 2880
CARD = 80
GZIP_LEVEL = 4
BITPIX = {"float32": -32, "float64": -64}
Cards = Mapping[str, str | int | float | bool]


def _card(name: str, value: str | float | bool) -> str:
    if isinstance(value, bool):
        text = f"{'T' if value else 'F':>20}"
    elif isinstance(value, str):
        text = f"'{value:8}'"
    elif isinstance(value, int):
        text = f"{value:>20d}"
    else:
        text = f"{repr(float(value)).upper():>20}"
    return f"{name:8}= {text}".ljust(CARD)


def _padded(content: bytes, fill: bytes) -> bytes:
    return content + fill * (-len(content) % BLOCK)


def _data(image: NDArray) -> bytes:
    return _padded(image.astype(image.dtype.newbyteorder(">")).tobytes(), b"\0")


def hdu(image_HW: NDArray[np.float32] | NDArray[np.float64], cards: Cards, first: bool) -> bytes:
    """One header-data unit: the primary one, or an image extension."""
    height, width = image_HW.shape
    start: dict[str, str | int | float | bool] = {"SIMPLE": True} if first else {"XTENSION": "IMAGE"}
    start |= {"BITPIX": BITPIX[str(image_HW.dtype)], "NAXIS": 2, "NAXIS1": width, "NAXIS2": height}
    start |= {"EXTEND": True} if first else {"PCOUNT": 0, "GCOUNT": 1}
    lines = [_card(name, value) for name, value in (start | dict(cards)).items()]
    header = "".join([*lines, "END".ljust(CARD)]).encode("ascii")
    return _padded(header, b" ") + _data(image_HW)


def lsst_stamp(image_HW: NDArray[np.float32], variance_HW: NDArray, psf_HW: NDArray, cards: Cards) -> bytes:
    """An LSST cutout: pixels, variance and PSF in one uncompressed file."""
    return (
        hdu(image_HW.astype(np.float32), cards, first=True)
        + hdu(variance_HW.astype(np.float32), {"UTYPE": "VarianceUncertainty", "EXTNAME": "UNCERT"}, first=False)
        + hdu(psf_HW.astype(np.float64), {"EXTNAME": "PSFIMAGE"}, first=False)
    )


def ztf_stamp(image_HW: NDArray[np.float32]) -> bytes:
    """A ZTF cutout: gzipped, with the survey's own first card, which the standard does not allow."""
    height, width = image_HW.shape
    lines: Sequence[str] = [
        "SIMPLE  =  T".ljust(CARD),
        *(_card(name, n) for name, n in (("BITPIX", -32), ("NAXIS", 2), ("NAXIS1", width), ("NAXIS2", height))),
        _card("BUNIT", "DN"),
        "END".ljust(CARD),
    ]
    content = _padded("".join(lines).encode("ascii"), b" ") + _data(image_HW.astype(np.float32))
    return gzip.compress(content, GZIP_LEVEL, mtime=0)

"""The first image of a FITS file, as a view of its pixels; knows no survey.

Survey stamps are primary images of unscaled 32-bit floats: their pixels are viewed without a copy. Every other plain
image is read as the standard says: integers, doubles, scaled pixels, further axes of length 1, the image in the first
extension. Tile-compressed images, tables and random groups are refused by name. Keywords are read where keywords stand,
in the first eight columns of a card; one of ours in other letters, behind a blank, or once more with another value is
refused, for readers differ over these. The header is believed only as far as there are bytes for it.

References
----------
FITS Standard 4.0, sections 4, 5 and 7.1: https://fits.gsfc.nasa.gov/standard40/fits_standard40aa-le.pdf
"""

import re
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

BLOCK_BYTES = 2880
MAX_HEADER_BYTES = 10 * BLOCK_BYTES  # ZTF uses one block, LSST two
MAX_AXES = 999
_CARD_BYTES = 80
_KEYWORD_BYTES = 8
_VALUE_AT = 10  # the value indicator, an equals sign and a blank, stands before it
_SHAPE_CARDS = 5  # the first cards of an image of two axes, whose order is fixed
_DTYPES = {
    bitpix: np.dtype(kind)
    for bitpix, kind in ((8, ">u1"), (16, ">i2"), (32, ">i4"), (64, ">i8"), (-32, ">f4"), (-64, ">f8"))
}
_END = re.compile(rb"END {77}")
_INTEGER = re.compile(rb"[+-]?[0-9]{1,18}")
_REAL = re.compile(rb"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[EeDd][+-]?[0-9]{1,4})?")
_SCALINGS = (b"BSCALE", b"BZERO", b"BLANK")
_SHAPES = (b"BITPIX", b"NAXIS")
_HEADERS_KEPT = 256


class BadFitsError(ValueError):
    """Not a FITS file of a kind that can be a stamp."""


@dataclass(frozen=True, slots=True)
class _Layout:
    """The pixels that a header describes."""

    height: int
    width: int
    dtype: np.dtype
    scaled: bool = False  # whether anything of the following is other than here
    scale: float = 1.0  # BSCALE
    zero: float = 0.0  # BZERO
    blank: int | None = None  # BLANK, the integer that stands for no value


def primary_image(content: bytes, largest_side: int) -> NDArray:
    """The pixels of the first image: of the primary one, or of the first extension where the primary is empty.

    Parameters
    ----------
    largest_side
        Pixels; an image with a longer side is refused.

    Returns
    -------
    pixels_HW : in physical units (BSCALE, BZERO applied, BLANK as NaN). Unscaled pixels are a read-only view in the
        file's own big-endian type, scaled ones float32, or float64 where they are stored in 32 or 64 bits of integer or
        in doubles, as astropy has them.

    Raises
    ------
    BadFitsError
        When the header is none, describes something else, or describes more pixels than there are.
    """
    end = _end_of_header(content, 0)
    layout = _layout_of_common(content[: _SHAPE_CARDS * _CARD_BYTES])
    if layout is None or _says_more(content, end):
        layout = _layout(_cards(content, 0, end), primary=True)
    elif 0 < layout.height <= largest_side and 0 < layout.width <= largest_side:
        return _pixels(content, _next_block(end), layout)
    if layout is None:  # no data in the primary unit
        start = _next_block(end)
        if start >= len(content):
            raise BadFitsError("the primary unit has no image, and no extension follows it")
        end = _end_of_header(content, start)
        layout = _layout(_cards(content, start, end), primary=False)
    if layout is None:
        raise BadFitsError("neither the primary unit nor the first extension has an image")
    if not (0 < layout.height <= largest_side and 0 < layout.width <= largest_side):
        raise BadFitsError(f"an image of {layout.width} x {layout.height} pixels, sides from 1 to {largest_side}")
    return _pixels(content, _next_block(end), layout)


def _pixels(content: bytes, start: int, layout: _Layout) -> NDArray:
    count = layout.height * layout.width
    if start + count * layout.dtype.itemsize > len(content):
        left = max(len(content) - start, 0)
        raise BadFitsError(f"header promises {layout.width} x {layout.height} pixels, {left} bytes follow it")
    pixels_HW = np.frombuffer(content, layout.dtype, count, start).reshape(layout.height, layout.width)
    return pixels_HW if not layout.scaled else _scaled(pixels_HW, layout)


def _scaled(stored_HW: NDArray, layout: _Layout) -> NDArray:
    """Apply BSCALE, BZERO and BLANK, in the precision that astropy takes."""
    wide = stored_HW.dtype.itemsize > (2 if stored_HW.dtype.kind in "iu" else 4)
    pixels_HW = stored_HW.astype(np.float64 if wide else np.float32)
    with np.errstate(over="ignore", invalid="ignore"):  # what does not fit is infinite, hence no flux
        if layout.scale != 1.0:
            np.multiply(pixels_HW, layout.scale, out=pixels_HW)
        if layout.zero != 0.0:
            np.add(pixels_HW, layout.zero, out=pixels_HW)
    if layout.blank is not None and stored_HW.dtype.kind in "iu":
        pixels_HW[stored_HW == layout.blank] = np.nan
    return pixels_HW


def _next_block(end: int) -> int:
    return -(-end // BLOCK_BYTES) * BLOCK_BYTES


def _end_of_header(content: bytes, start: int) -> int:
    """Return the position behind the END card of the header that begins at ``start``, itself a multiple of 2880."""
    at = start
    while (match := _END.search(content, at, start + MAX_HEADER_BYTES)) is not None:
        if match.start() % _CARD_BYTES == 0:
            return match.end()
        at = match.start() + 1
    raise BadFitsError(f"no END card within {min(len(content) - start, MAX_HEADER_BYTES)} bytes")


def _says_more(content: bytes, end: int) -> bool:
    """Whether a word that changes pixels or shape stands behind the fixed cards, in any letters, be it in a comment."""
    behind = content[_SHAPE_CARDS * _CARD_BYTES : end].upper()
    scaled = b"BSCALE" in behind or b"BZERO" in behind or b"BLANK" in behind
    return scaled or b"NAXIS" in behind or b"BITPIX" in behind


@lru_cache(_HEADERS_KEPT)
def _layout_of_common(first_cards: bytes) -> _Layout | None:
    """The layout of unscaled floats in two axes, from their first five cards; None for any other header."""
    try:
        cards = _cards(first_cards, 0, len(first_cards))
        _check_primary(cards)
        if [keyword for keyword, _ in cards[1:]] != [b"BITPIX", b"NAXIS", b"NAXIS1", b"NAXIS2"]:
            return None
        bitpix, axes, width, height = (_integer(keyword, card) for keyword, card in cards[1:])
    except BadFitsError:
        return None
    return _Layout(height, width, _DTYPES[bitpix]) if (bitpix, axes) == (-32, 2) else None


_Card = tuple[bytes, bytes]  # keyword, the whole card


def _cards(content: bytes, start: int, end: int) -> list[_Card]:
    """The cards of a header, those without a value indicator ("= " in columns 9 and 10) among them."""
    cards = []
    for at in range(start, end, _CARD_BYTES):
        card = content[at : at + _CARD_BYTES]
        keyword = card[:_KEYWORD_BYTES].rstrip()
        if _has_value(card) and keyword != (meant := keyword.strip().upper()) and meant.startswith(_SCALINGS + _SHAPES):
            raise BadFitsError(
                f"keyword {card[:_KEYWORD_BYTES]!r} is not written as {meant.decode('ascii', 'replace')}"
            )
        cards.append((keyword, card))
    return cards


def _has_value(card: bytes) -> bool:
    return card[_KEYWORD_BYTES:_VALUE_AT] == b"= "


def _value(card: bytes) -> bytes:
    """The text between the value indicator and the comment."""
    return card[_VALUE_AT:].partition(b"/")[0].strip()


def _layout(cards: list[_Card], primary: bool) -> _Layout | None:
    """The layout that a header describes; None where it describes no data."""
    if primary:
        _check_primary(cards)
    else:
        _check_extension(cards)
    bitpix = _integer(*_card_at(cards, 1, b"BITPIX"))
    if bitpix not in _DTYPES:
        raise BadFitsError(f"BITPIX {bitpix}, one of {', '.join(map(str, sorted(_DTYPES)))}")
    axes = _integer(*_card_at(cards, 2, b"NAXIS"))
    if not 0 <= axes <= MAX_AXES:
        raise BadFitsError(f"NAXIS {axes}, 0 to {MAX_AXES}")
    if axes == 0:
        return None
    sides = [_integer(*_card_at(cards, 3 + n, b"NAXIS%d" % (n + 1))) for n in range(axes)]
    values = _values(cards, (*_SCALINGS, *_SHAPES, b"GROUPS", *(b"NAXIS%d" % (n + 1) for n in range(axes))))
    if values.get(b"GROUPS", b"F") == b"T" and sides[0] == 0:
        raise BadFitsError("random groups are not read: only an image is")
    if axes == 1 or any(side != 1 for side in sides[2:]):
        raise BadFitsError(f"an array of {' x '.join(map(str, sides))}, only two axes are read, and more of length 1")
    scale, zero = _real(b"BSCALE", values.get(b"BSCALE", b"1")), _real(b"BZERO", values.get(b"BZERO", b"0"))
    blank = _whole(b"BLANK", values[b"BLANK"]) if bitpix > 0 and b"BLANK" in values else None
    scaled = scale != 1.0 or zero != 0.0 or blank is not None
    return _Layout(sides[1], sides[0], _DTYPES[bitpix], scaled, scale, zero, blank)


def _check_primary(cards: list[_Card]) -> None:
    """See that the file says that it is FITS; ZTF writes that in another column than the standard wants."""
    keyword, card = cards[0]
    if keyword != b"SIMPLE" or not _has_value(card) or _value(card) != b"T":
        raise BadFitsError(f"the first card is {card[:30]!r}, SIMPLE = T is expected")


def _check_extension(cards: list[_Card]) -> None:
    values = _values(cards, (b"XTENSION", b"ZIMAGE", b"ZCMPTYPE"))
    kind = values.get(b"XTENSION", b"").strip(b"' ")
    if values.get(b"ZIMAGE") == b"T":
        how = values.get(b"ZCMPTYPE", b"").strip(b"' ")[:20]
        raise BadFitsError(f"a tile-compressed image ({how.decode('ascii', 'replace')}) is not read: unpack it before")
    if kind not in (b"IMAGE", b"IUEIMAGE"):
        raise BadFitsError(f"the first extension is {kind[:20]!r}, only an IMAGE is read")


def _card_at(cards: list[_Card], index: int, keyword: bytes) -> _Card:
    """The card at a place where the standard wants this keyword."""
    if index >= len(cards) or cards[index][0] != keyword:
        seen = cards[index][1][:30] if index < len(cards) else b""
        raise BadFitsError(f"card {index} is {seen!r} instead of {keyword.decode()}")
    return cards[index]


def _values(cards: list[_Card], keywords: tuple[bytes, ...]) -> dict[bytes, bytes]:
    """The values of keywords.

    The standard says nothing of a keyword that stands twice, and readers differ: two values are refused.
    """
    values: dict[bytes, bytes] = {}
    for keyword, card in cards:
        if keyword in keywords and _has_value(card):
            value = _value(card)
            if values.setdefault(keyword, value) != value:
                raise BadFitsError(f"{keyword.decode()} stands twice, as {values[keyword][:20]!r} and {value[:20]!r}")
    return values


def _integer(keyword: bytes, card: bytes) -> int:
    if not _has_value(card):
        raise BadFitsError(f"{keyword.decode('ascii', 'replace')} without a value: {card[:30]!r}")
    return _whole(keyword, _value(card))


def _whole(keyword: bytes, text: bytes) -> int:
    if _INTEGER.fullmatch(text) is None:
        raise BadFitsError(f"{keyword.decode('ascii', 'replace')} is {text[:30]!r}, a whole number is expected")
    return int(text)


def _real(keyword: bytes, text: bytes) -> float:
    if _REAL.fullmatch(text) is None:
        raise BadFitsError(f"{keyword.decode('ascii', 'replace')} is {text[:30]!r}, a number is expected")
    return float(text.translate(_DOUBLE_EXPONENTS))


_DOUBLE_EXPONENTS = bytes.maketrans(b"Dd", b"Ee")  # FITS also writes exponents with D

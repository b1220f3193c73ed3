"""Headers of FITS files, read as astropy reads them or refused by name."""

import io
import math
import warnings

import numpy as np
import pytest
from astropy.io import fits
from astropy.io.fits.verify import VerifyWarning
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from packets import fits_bytes, sky

from broker_filter.alerts.fits import BLOCK_BYTES, BadFitsError, primary_image

LARGEST_SIDE = 127
DTYPES = {8: ">u1", 16: ">i2", 32: ">i4", 64: ">i8", -32: ">f4", -64: ">f8"}


def card(keyword: str, value: str = "", comment: str = "") -> bytes:
    """One card as a writer makes it; without a value it is commentary."""
    text = f"{keyword:<8}= {value:>20}" if value else f"{keyword:<8}{comment}"
    if value and comment:
        text += f" / {comment}"
    return text[:80].ljust(80).encode()


def unit(cards: list[bytes], data: bytes) -> bytes:
    """A header and its data, both padded."""
    header = b"".join([*cards, b"END".ljust(80)])
    return b"".join(
        part + bytes(-len(part) % BLOCK_BYTES) for part in (header.ljust(-(-len(header) // 2880) * 2880), data)
    )


def by_astropy(content: bytes) -> np.ndarray | None:
    """The first image as astropy reads it, None where it has none of two axes."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with fits.open(io.BytesIO(content), memmap=False, uint=False, disable_image_compression=True) as units:
            data = units[0].data
            if data is None and len(units) > 1 and units[1].is_image:
                data = units[1].data
            if data is None or data.ndim < 2 or any(side != 1 for side in data.shape[:-2]):
                return None
            return data.reshape(data.shape[-2:])


NUMBERS = st.one_of(
    st.sampled_from(
        ["1.0", "1", "0.0", "0", "1000", "1000.", "-3.5", ".25", "1.0E+00", "2.5E3", "1.5D2", "-1D-3", "+4"]
    ),
    st.floats(-1e6, 1e6, allow_nan=False).map(lambda value: f"{value:.6E}"),
)
COMMENTS = st.sampled_from(
    ["", "BSCALE  = 3.0", "BZERO   =  1000.0 in words", "see BSCALE  =, BZERO   =", "BLANK", "END", "it's / a slash"]
)
OPTIONAL = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["BSCALE", "BZERO"]), NUMBERS),
        st.tuples(st.just("BLANK"), st.integers(-128, 300).filter(bool).map(str)),  # of 0 astropy takes no notice
        st.tuples(st.sampled_from(["CRVAL1", "EXPTIME", "XBSCALE", "BSCALE1"]), NUMBERS),
        st.tuples(st.sampled_from(["COMMENT", "HISTORY", "", "BSCALEX"]), st.just("")),
    ),
    max_size=6,
    unique_by=lambda pair: pair[0],
)


@st.composite
def files(draw: st.DrawFn) -> bytes:
    """A FITS file whose first image lies where writers put it."""
    bitpix = draw(st.sampled_from(sorted(DTYPES)))
    height, width = draw(st.integers(1, 7)), draw(st.integers(1, 7))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    pixels = rng.normal(100, 50, (height, width)).astype(DTYPES[bitpix])
    further = draw(st.sampled_from([[], [1], [1, 1], [2]]))
    sides = [width, height, *further]
    axes = [card("NAXIS", str(len(sides)))] + [card(f"NAXIS{n + 1}", str(side)) for n, side in enumerate(sides)]
    optional = [card(keyword, value, draw(COMMENTS)) for keyword, value in draw(OPTIONAL)]
    data = pixels.tobytes() * math.prod(further)
    if draw(st.booleans()):
        return unit([card("SIMPLE", "T"), card("BITPIX", str(bitpix)), *axes, *optional], data)
    primary = unit([card("SIMPLE", "T"), card("BITPIX", "8"), card("NAXIS", "0"), card("EXTEND", "T")], b"")
    counts = [card("PCOUNT", "0"), card("GCOUNT", "1")]
    head = [b"XTENSION= 'IMAGE   '".ljust(80), card("BITPIX", str(bitpix))]
    return primary + unit([*head, *axes, *counts, *optional], data)


@pytest.mark.slow
@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(files())
def test_headers_are_read_as_astropy_reads_them(content: bytes) -> None:
    """Scaling, blanks, types, axes and extensions give astropy's pixels to the last bit, or the file is refused."""
    expected = by_astropy(content)
    try:
        pixels = primary_image(content, LARGEST_SIDE)
    except BadFitsError:
        assert expected is None
        return
    assert expected is not None
    np.testing.assert_array_equal(pixels, expected)


def test_bzero_alone_is_added() -> None:
    """A zero point without a scale counts."""
    plain = fits_bytes(sky(1, 30))
    shifted = plain.replace(b"BUNIT   = 'DN      '", b"BZERO   = 1000.0    ")
    assert shifted != plain
    np.testing.assert_array_equal(primary_image(shifted, 127), primary_image(plain, 127) + np.float32(1000.0))


def test_scaling_that_changes_nothing_is_no_reason_to_refuse() -> None:
    """BSCALE of 1 and BZERO of 0, and the word in a comment, leave the pixels what they are."""
    plain = fits_bytes(sky(1, 30))
    expected = primary_image(plain, 127)
    for words in (b"BSCALE  =   1.0     ", b"BZERO   =   0.0     ", b"COMMENT  BSCALE  = 7", b"HISTORY BZERO   = 9 "):
        changed = plain.replace(b"BUNIT   = 'DN      '", words)
        assert changed != plain
        np.testing.assert_array_equal(primary_image(changed, 127), expected)


@pytest.mark.parametrize("keyword", ["BSCALE", "BZERO", "BLANK"])
def test_a_keyword_with_two_values_is_refused(keyword: str) -> None:
    """A scaling that is given twice differently is refused, for readers differ; twice the same is once."""
    pixels = np.arange(6, dtype=">i2").reshape(2, 3)
    sides = [card("NAXIS", "2"), card("NAXIS1", "3"), card("NAXIS2", "2")]
    first = [card("SIMPLE", "T"), card("BITPIX", "16"), *sides, card(keyword, "2")]
    with pytest.raises(BadFitsError, match=f"{keyword} stands twice"):
        primary_image(unit([*first, card(keyword, "3")], pixels.tobytes()), 127)
    twice = unit([*first, card(keyword, "2")], pixels.tobytes())
    np.testing.assert_array_equal(primary_image(twice, 127), by_astropy(twice))


@pytest.mark.parametrize("bitpix", [-32, 16])
@pytest.mark.parametrize("more", ["BITPIX  = 8", "NAXIS   = 1", "NAXIS1  = 2", "NAXIS2  = 1"])
def test_a_shape_that_is_given_twice_is_refused(bitpix: int, more: str) -> None:
    """A second card with another type or side is no detail that one of two readers may pass over."""
    sides = [card("NAXIS", "2"), card("NAXIS1", "3"), card("NAXIS2", "2")]
    content = unit([card("SIMPLE", "T"), card("BITPIX", str(bitpix)), *sides, more.ljust(80).encode()], bytes(24))
    with pytest.raises(BadFitsError, match="stands twice"):
        primary_image(content, 127)


@pytest.mark.parametrize("bitpix", [-32, 16])
@pytest.mark.parametrize("odd", ["bscale  = 2.0", "Bzero   = 5.0", " BZERO  = 7.0", "blank   = 3", "naxis1  = 2"])
def test_keywords_in_other_letters_or_columns_are_refused(bitpix: int, odd: str) -> None:
    """A keyword that astropy believes and the standard does not know changes no pixel in silence."""
    sides = [card("NAXIS", "2"), card("NAXIS1", "3"), card("NAXIS2", "2")]
    content = unit([card("SIMPLE", "T"), card("BITPIX", str(bitpix)), *sides, odd.ljust(80).encode()], bytes(24))
    with pytest.raises(BadFitsError, match="is not written as"):
        primary_image(content, 127)


@pytest.mark.parametrize("first", ["SIMPLE  = F", "SIMPLE  =T", "SIMPLEX = T", "XTENSION= 'IMAGE   '", "COMMENT x"])
def test_a_file_says_that_it_is_fits(first: str) -> None:
    """What begins otherwise, or says that it follows no standard, is no stamp."""
    sides = [card("NAXIS", "2"), card("NAXIS1", "3"), card("NAXIS2", "2")]
    for bitpix in ("-32", "16"):
        content = unit([first.ljust(80).encode(), card("BITPIX", bitpix), *sides], bytes(24))
        with pytest.raises(BadFitsError, match="SIMPLE = T is expected"):
            primary_image(content, 127)


@pytest.mark.parametrize("shape", ["BITPIX  =-32", "NAXIS1  =43", "NAXIS   =2"])
def test_a_value_begins_behind_its_indicator(shape: str) -> None:
    """A value that stands where the blank of the indicator should be loses no sign and no digit: it is refused."""
    cards = {"SIMPLE": "T", "BITPIX": "-32", "NAXIS": "2", "NAXIS1": "3", "NAXIS2": "3"}
    given = [shape.ljust(80).encode() if shape.startswith(f"{k:<8}") else card(k, v) for k, v in cards.items()]
    with pytest.raises(BadFitsError, match="without a value"):
        primary_image(unit(given, bytes(36)), 127)


def test_zero_can_stand_for_no_value() -> None:
    """BLANK = 0 is what the standard says: those pixels have no value."""
    sides = [card("NAXIS", "2"), card("NAXIS1", "3"), card("NAXIS2", "1")]
    content = unit([card("SIMPLE", "T"), card("BITPIX", "8"), *sides, card("BLANK", "0")], b"\1\0\2")
    np.testing.assert_array_equal(primary_image(content, 127), [[1.0, np.nan, 2.0]])


def test_tile_compressed_images_are_refused_by_name() -> None:
    """The refusal says what it is and what to do."""
    out = io.BytesIO()
    image = fits.CompImageHDU(np.arange(900, dtype=np.int16).reshape(30, 30), compression_type="RICE_1")
    fits.HDUList([fits.PrimaryHDU(), image]).writeto(out)
    with pytest.raises(BadFitsError, match=r"tile-compressed image \(RICE_1\) is not read"):
        primary_image(out.getvalue(), 127)


def test_tables_are_refused_by_name() -> None:
    """A file with a table and no image names what it found."""
    out = io.BytesIO()
    table = fits.BinTableHDU.from_columns([fits.Column("a", "E", array=np.zeros(3, np.float32))])
    fits.HDUList([fits.PrimaryHDU(), table]).writeto(out)
    with pytest.raises(BadFitsError, match="BINTABLE"):
        primary_image(out.getvalue(), 127)


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("BITPIX", "--32"),
        ("BITPIX", "3-2"),
        ("BITPIX", "-32.0"),
        ("BITPIX", "٣"),
        ("NAXIS", "-2"),
        ("NAXIS", "1"),
        ("NAXIS1", "9" * 19),
        ("NAXIS2", "+-3"),
        ("BSCALE", "'one'"),
        ("BZERO", "1e99999"),
        ("BZERO", "nan"),
    ],
)
def test_values_that_are_none_are_refused(keyword: str, value: str) -> None:
    """A value that is no number of its kind is named, never an error of Python."""
    cards = {"SIMPLE": "T", "BITPIX": "-32", "NAXIS": "2", "NAXIS1": "3", "NAXIS2": "3"} | {keyword: value}
    text = "".join(f"{name:<8}= {number:>20}".ljust(80) for name, number in cards.items()) + "END".ljust(80)
    with pytest.raises(BadFitsError):
        primary_image(text.encode().ljust(2880) + bytes(2880), 127)


def test_random_groups_are_refused_by_name() -> None:
    """A primary unit of groups is no image."""
    groups = {"SIMPLE": "T", "BITPIX": "-32", "NAXIS": "3", "NAXIS1": "0", "NAXIS2": "3", "NAXIS3": "3", "GROUPS": "T"}
    content = unit([card(name, value) for name, value in groups.items()], bytes(36))
    with pytest.raises(BadFitsError, match="random groups"):
        primary_image(content, 127)


def test_a_written_file_comes_back(tmp_path) -> None:
    """Scaled integers that astropy writes come back as astropy reads them."""
    unsigned = fits.PrimaryHDU(np.arange(900, dtype=np.int16).reshape(30, 30))
    unsigned.scale("int16", bscale=0.25, bzero=50.0)
    out = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", VerifyWarning)
        unsigned.writeto(out)
    np.testing.assert_array_equal(primary_image(out.getvalue(), 127), by_astropy(out.getvalue()))

"""Calibrated pixels of an alert, as an observation. Knows no Avro and no network.

Inflating takes most of the time here and releases the interpreter's lock, so that threads gain.
"""

import math
import zlib
from collections.abc import Collection

import numpy as np
from isal import isal_zlib
from numpy.typing import NDArray

from broker_filter.alerts.fits import BLOCK_BYTES, MAX_HEADER_BYTES, BadFitsError, primary_image
from broker_filter.alerts.survey import SURVEYS, AlertSurvey
from broker_filter.alerts.units import AB_MAG_OF_1_NJY, LARGEST_FLUX_NJY
from broker_filter.errors import NotClassified, NotClassifiedError, RejectedAlertError, Rejection
from broker_filter.records import Alert, Observation
from model.series import BANDS, compact, fit_to_size

# An uncompressed stamp may be followed by extensions. LSST's largest, with variance and PSF, has some 180 kB.
MAX_STAMP_BYTES = 4 * 1024 * 1024
MOST_GZIP_MEMBERS = 100  # each may be empty
_GZIP_MAGIC = b"\x1f\x8b"
_GZIP_BITS = 16 + zlib.MAX_WBITS  # for the inflater: gzip, of any window
_FITS_MAGIC = b"SIMPLE"
_PICTURE_MAGICS = (b"\xff\xd8\xff", b"\x89PNG")


def decode(content: bytes, survey: AlertSurvey) -> NDArray[np.float32]:
    """Decode a stamp as it was published.

    Returns
    -------
    pixels_HW : float32, in the survey's own unit (ZTF: DN, LSST: nJy), NaN where the survey has none.

    Raises
    ------
    NotClassifiedError
        ``UNSUPPORTED_STAMP`` for JPEG and PNG.
    RejectedAlertError
        ``BAD_STAMP`` when it does not inflate, is no FITS image, or lies about its size; ``TOO_LARGE`` beyond the
        survey's largest stamp.
    """
    return _published(content, survey).astype(np.float32)


def observe(alert: Alert, channels: tuple[str, ...], size: int, bands: Collection[str]) -> Observation:
    """Make the frame that the series keeps of an alert: nJy per pixel, science minus template, the source centred.

    Parameters
    ----------
    channels
        Kinds of stamps, in the order in which the network wants them.
    size
        Pixels per side; stamps are cropped or padded about their centre.
    bands
        Bands that the network was trained on.

    Raises
    ------
    NotClassifiedError
        ``SOLAR_SYSTEM``, ``UNSUPPORTED_BAND``, ``NO_STAMPS``, ``UNSUPPORTED_STAMP`` or ``BLANK_STAMP``.
    RejectedAlertError
        As ``decode``.
    """
    if alert.match is not None and alert.match.moves:
        raise NotClassifiedError(NotClassified.SOLAR_SYSTEM, alert.match.words)
    if alert.band not in bands:
        raise NotClassifiedError(NotClassified.UNSUPPORTED_BAND, f"band {alert.band}: one of {''.join(bands)}")
    survey = SURVEYS[alert.survey]
    pixels_CHW = np.empty((len(channels), size, size), np.float32)
    for c, kind in enumerate(channels):
        content = alert.stamps[kind]
        if content is None:
            raise NotClassifiedError(NotClassified.NO_STAMPS, f"the {kind} stamp is null")
        pixels_HW = _whole(_published(content, survey), survey, alert.position_px)
        pixels_CHW[c] = fit_to_size(pixels_HW[None], size)[0]
        if kind == "difference" and alert.difference_sign < 0:
            np.negative(pixels_CHW[c], out=pixels_CHW[c])
    if alert.zero_point_mag is not None:
        with np.errstate(over="ignore", invalid="ignore"):  # a pixel near the largest float becomes infinite
            pixels_CHW *= np.float32(10.0 ** ((AB_MAG_OF_1_NJY - alert.zero_point_mag) / 2.5))
    real_CHW = np.abs(pixels_CHW) <= LARGEST_FLUX_NJY  # and not NaN
    if not real_CHW.all():
        pixels_CHW[~real_CHW] = math.nan
        if not real_CHW.any(axis=(1, 2)).all():
            raise NotClassifiedError(NotClassified.BLANK_STAMP, f"no pixel with a flux in the central {size} x {size}")
    compact_CHW, scale_C = compact(pixels_CHW)
    return Observation(
        alert_id=alert.alert_id,
        time_mjd=alert.time_mjd,
        band=BANDS.index(alert.band),
        flux_njy=alert.flux_njy,
        flux_error_njy=alert.flux_error_njy,
        pixels=compact_CHW,
        scale_njy=scale_C,
        history=alert.history,
    )


def _whole(
    pixels_HW: NDArray[np.float32], survey: AlertSurvey, position_px: tuple[float, float] | None
) -> NDArray[np.float32]:
    """Pad a stamp that the edge of the detector cut, so that the source is in its centre again.

    The source is in the middle of the whole stamp; what is missing is missing at the edge that is nearer to it.
    """
    side = survey.side
    if side is None or position_px is None or pixels_HW.shape == (side, side) or max(pixels_HW.shape) > side:
        return pixels_HW
    whole_HW = np.full((side, side), np.nan, np.float32)
    start_y, start_x = (
        side - n if position < side else 0 for n, position in zip(pixels_HW.shape, reversed(position_px), strict=True)
    )
    height, width = pixels_HW.shape
    whole_HW[start_y : start_y + height, start_x : start_x + width] = pixels_HW
    return whole_HW


def _published(content: bytes, survey: AlertSurvey) -> NDArray[np.float32]:
    """View the pixels of a stamp; raises as ``decode``."""
    if content.startswith(_GZIP_MAGIC):
        content = _inflate(content, survey)
    elif content.startswith(_PICTURE_MAGICS):
        raise NotClassifiedError(NotClassified.UNSUPPORTED_STAMP, f"a picture ({content[:4]!r}) has no calibration")
    elif not content.startswith(_FITS_MAGIC):
        raise RejectedAlertError(Rejection.BAD_STAMP, f"stamp begins {content[:8]!r}: neither gzip nor FITS")
    elif len(content) > MAX_STAMP_BYTES:
        raise RejectedAlertError(Rejection.TOO_LARGE, f"stamp of {len(content)} bytes, limit {MAX_STAMP_BYTES}")
    try:
        pixels_HW = primary_image(content, survey.largest_side)
    except BadFitsError as error:
        raise RejectedAlertError(Rejection.BAD_STAMP, str(error)) from error
    if pixels_HW.dtype.kind == "f" and pixels_HW.dtype.itemsize == np.dtype(np.float32).itemsize:
        return pixels_HW
    with np.errstate(over="ignore", invalid="ignore"):  # a double that does not fit is infinite, hence no flux
        return pixels_HW.astype(np.float32)


def _inflate(content: bytes, survey: AlertSurvey) -> bytes:
    limit = (
        MAX_HEADER_BYTES + 4 * survey.largest_side**2 + BLOCK_BYTES
    )  # of one image of 32-bit floats, as surveys send
    most = limit + MAX_HEADER_BYTES + BLOCK_BYTES + 4 * survey.largest_side**2  # of doubles, or in an extension
    inflater = isal_zlib.decompressobj(_GZIP_BITS)
    try:
        inflated = inflater.decompress(content, limit)
        if not inflater.eof and len(inflated) >= limit:
            inflated += inflater.decompress(inflater.unconsumed_tail, most + 1 - limit)
        members = 1
        while inflater.eof and len(inflated) <= most and (rest := _next_member(inflater.unused_data)):
            if members == MOST_GZIP_MEMBERS:
                raise RejectedAlertError(Rejection.BAD_STAMP, f"stamp of over {MOST_GZIP_MEMBERS} gzip members")
            inflater, members = isal_zlib.decompressobj(_GZIP_BITS), members + 1
            inflated += inflater.decompress(rest, most + 1 - len(inflated))
    except isal_zlib.error as error:  # type: ignore[misc] # its stub does not say that it is an exception
        raise RejectedAlertError(Rejection.BAD_STAMP, f"stamp does not inflate: {error}") from error
    if len(inflated) > most:
        raise RejectedAlertError(Rejection.TOO_LARGE, f"stamp inflates beyond {most} bytes")
    if inflater.eof:
        return inflated
    raise RejectedAlertError(Rejection.BAD_STAMP, f"gzip breaks off after {len(inflated)} bytes")


def _next_member(unused: bytes) -> bytes:
    """What follows the end of a gzip member, zeros passed over; nothing where it is no member."""
    rest = unused.lstrip(b"\0")
    return rest if rest.startswith(_GZIP_MAGIC) else b""

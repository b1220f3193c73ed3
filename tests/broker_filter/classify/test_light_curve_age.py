"""The age of a light curve: when it was first seen, and when it was brightest."""

import numpy as np
import pytest

from broker_filter.classify.light_curve_age import age_of
from model.past_photometry import NO_HISTORY, History
from model.series import Series

G, R = 1, 2


def frames(*visits: tuple[float, int, float]) -> Series:
    """Frames without pixels of (MJD, band, nJy)."""
    time, band, flux = zip(*visits, strict=True)
    empty, scale = np.empty((len(time), 0, 0, 0), np.float16), np.empty((len(time), 0), np.float32)
    fluxes = np.array(flux, np.float32)
    return Series(empty, scale, np.array(band, np.int8), np.array(time), fluxes, np.ones_like(fluxes))


def epochs(*visits: tuple[float, int, float]) -> History:
    """Epochs without stamp of (MJD, band, nJy), each with an error of 1 nJy."""
    time, band, flux = zip(*visits, strict=True)
    fluxes = np.array(flux, np.float32)
    return History(np.array(time), np.array(band, np.int8), fluxes, np.ones_like(fluxes))


def test_first_detection_may_be_one_that_a_packet_tells_of() -> None:
    """Limits and epochs within the noise are no detections; a negative difference is one."""
    past = epochs((90.0, G, 0.0), (95.0, G, -7.0), (96.0, R, 2.0))
    assert age_of(frames((100.0, G, 5.0), (103.0, R, 5.0)), past).days_since_first == 8.0
    assert age_of(frames((100.0, G, 5.0), (103.0, R, 5.0)), NO_HISTORY).days_since_first == 3.0


@pytest.mark.parametrize(("newest", "days"), [(9.0, 0.0), (8.0, 0.0), (7.0, 6.0)])
def test_brightest_is_of_the_alerts_own_band(newest: float, days: float) -> None:
    """A rising light curve is brightest now, a falling one was at its last maximum; other bands do not count."""
    past = epochs((94.0, G, 8.0), (97.0, G, 8.0), (99.0, R, 100.0))
    assert age_of(frames((100.0, G, 5.0), (103.0, G, newest)), past).days_since_brightest == days


def test_unknown_flux_has_no_brightest() -> None:
    """An alert whose flux is unknown cannot be compared; unknown ones before it are passed over."""
    assert age_of(frames((100.0, G, 5.0), (103.0, G, np.nan)), NO_HISTORY).days_since_brightest is None
    assert age_of(frames((100.0, G, np.nan), (103.0, G, 5.0)), NO_HISTORY).days_since_brightest == 0.0

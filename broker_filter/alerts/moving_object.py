"""Known Solar-system objects that packets name, and the probability that the source is one of them.

Surveys match their detections with predicted positions. ZTF names the nearest object within 30 arcsec, which may be
there by chance; LSST links a source with one and gives it no ``diaObject``.
"""

import math
from typing import Any

from broker_filter.records import MovingObject, SolarSystemMatch

# Of 817 public ZTF alerts, without their labels: 59 of the 61 matches within 12 arcsec are within one (distances are
# rounded), two at six; of the other 756 one has an object between 12 and 30 arcsec.
ZTF_REACH_ARCSEC = 30.0  # beyond: none; ZTF also says none with a negative distance
SHARE_OF_ALERTS = 61 / 817
CHANCE_PER_ARCSEC2 = 1 / 756 / (math.pi * (30.0**2 - 12.0**2))
NEAR_ARCSEC, FAR_ARCSEC, FAR_SHARE = 0.6, 3.0, 2 / 61  # scatter of matches about the prediction, and of those far off
# Predicted magnitudes are of V and of a mean phase; trails and neighbours spoil some.
MAGNITUDE_SCATTER, SPOILT_SHARE, CHANCE_RANGE_MAG = 0.5, 0.2, 5.0
LINKED = 0.99  # an object that LSST itself links with the source: a choice, for its false links are not published


def of_ztf(candidate: dict[str, Any], magnitude: float) -> SolarSystemMatch | None:
    """The object that a ``candidate`` names; None where it names none.

    Parameters
    ----------
    magnitude
        Of the source in the difference image, NaN where unknown.
    """
    distance = _number(candidate.get("ssdistnr"))
    if distance is None or not 0.0 <= distance < ZTF_REACH_ARCSEC:
        return None
    predicted, name = _number(candidate.get("ssmagnr")), candidate.get("ssnamenr")
    predicted = None if predicted is None or predicted <= 0 else predicted  # -999: none
    known = MovingObject(name if isinstance(name, str) and name != "null" else None, distance, predicted)
    return SolarSystemMatch(known, probability_of(distance, math.nan if predicted is None else magnitude - predicted))


def of_lsst(source: dict[str, Any] | None) -> SolarSystemMatch:
    """The object of an alert without a ``diaObject``; ``source`` is its ``ssSource``, where the packet has one."""
    source = source or {}
    offset, name = _number(source.get("ephOffset")), source.get("designation")
    magnitude = _number(source.get("ephVmag"))
    if magnitude is None:
        magnitude = _number(source.get("predictedVMagnitude"))  # before schema 9.1
    return SolarSystemMatch(MovingObject(name if isinstance(name, str) else None, offset, magnitude), LINKED)


def probability_of(distance_arcsec: float, magnitude_excess: float) -> float:
    """That a source is the object predicted so far from it and so much brighter; NaN: brightness unknown."""
    near = (1 - FAR_SHARE) * _scattered(distance_arcsec, NEAR_ARCSEC)
    odds = SHARE_OF_ALERTS / (1 - SHARE_OF_ALERTS) / CHANCE_PER_ARCSEC2
    odds *= near + FAR_SHARE * _scattered(distance_arcsec, FAR_ARCSEC)
    if math.isfinite(magnitude_excess):
        bell = math.exp(-0.5 * (magnitude_excess / MAGNITUDE_SCATTER) ** 2) / math.sqrt(2 * math.pi)
        odds *= (1 - SPOILT_SHARE) * bell / MAGNITUDE_SCATTER * CHANCE_RANGE_MAG + SPOILT_SHARE
    return odds / (1 + odds)


def _scattered(distance: float, sigma: float) -> float:
    """Density per square arcsec of a round Gaussian."""
    return math.exp(-0.5 * (distance / sigma) ** 2) / (2 * math.pi * sigma**2)


def _number(value: Any) -> float | None:
    """A finite number; None for anything else."""
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None

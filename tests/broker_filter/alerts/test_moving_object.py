"""Solar-system objects near a source: what packets name, and how probable it is that the source is one of them."""

import math

import pytest
from packets import ztf_packet

from broker_filter.alerts.alert import read_alerts
from broker_filter.alerts.moving_object import LINKED, of_lsst, of_ztf, probability_of
from broker_filter.alerts.packet_schema import Schemas
from broker_filter.records import Alert, Message, MovingObject, Origin

KNOWN = {"ssdistnr": 0.4, "ssmagnr": 19.25, "ssnamenr": "31415"}


def test_the_named_object_is_read_from_the_packet():
    """A ZTF packet's nearest known object has its name, its distance and its predicted magnitude."""
    (alert,) = read_alerts(Message(ztf_packet(magpsf=19.5, **KNOWN), Origin("here")), Schemas())
    assert isinstance(alert, Alert) and alert.match is not None
    assert alert.match.known == MovingObject("31415", pytest.approx(0.4), pytest.approx(19.25))
    assert alert.match.probability > 0.999
    assert alert.match.words == "0.4 arcsec from Solar-system object 31415, predicted at magnitude 19.2"


@pytest.mark.parametrize("distance", [None, -999.0, 60.0, 30.0, math.nan])
def test_no_object_is_near(distance):
    """Distances by which ZTF says that there is none name none."""
    assert of_ztf({**KNOWN, "ssdistnr": distance}, 19.5) is None


def test_an_object_far_off_is_named_and_not_believed():
    """An object twenty arcsec away is told, and the source is taken for what its stamps show."""
    match = of_ztf({**KNOWN, "ssdistnr": 20.0}, 19.5)
    assert match is not None and match.known.designation == "31415"
    assert match.probability < 0.01 and not match.moves


def test_probability_falls_with_distance_and_with_a_wrong_magnitude():
    """The farther from its prediction, or the less its brightness fits, the less probable the object is."""
    by_distance = [probability_of(arcsec, math.nan) for arcsec in (0, 1, 3, 6, 10, 20)]
    assert by_distance == sorted(by_distance, reverse=True)
    by_magnitude = [probability_of(6.0, excess) for excess in (0.0, 0.5, 1.0, 3.0)]
    assert by_magnitude == sorted(by_magnitude, reverse=True)
    assert probability_of(6.0, 0.5) > probability_of(6.0, math.nan) > probability_of(6.0, -3.0)


def test_a_near_object_is_believed_and_one_far_off_is_not():
    """At its prediction an object is the source beyond doubt; at twelve arcsec it is there by chance."""
    assert probability_of(0.0, math.nan) > 0.9999
    assert probability_of(12.0, math.nan) < 0.05


def test_lsst_names_the_object_that_it_linked():
    """An alert without a diaObject is of the object in its ssSource, whatever version wrote it."""
    newer = of_lsst({"ssObjectId": 5, "designation": "2026 AB1", "ephOffset": 0.25, "ephVmag": 21.5})
    assert newer.known == MovingObject("2026 AB1", 0.25, 21.5)
    assert of_lsst({"ssObjectId": 5, "predictedVMagnitude": 22.5}).known == MovingObject(None, None, 22.5)
    assert of_lsst(None).words == "linked by the survey with Solar-system object without a name"
    assert newer.probability == LINKED and newer.moves

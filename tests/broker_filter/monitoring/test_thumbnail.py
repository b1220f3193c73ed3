"""Small pictures of stamps."""

import io

import numpy as np
import packets
from PIL import Image

from broker_filter.alerts.alert import read_alerts
from broker_filter.alerts.packet_schema import Schemas
from broker_filter.monitoring.thumbnail import pictures
from broker_filter.records import Message, Origin
from model.pictures.png import NOT_OBSERVED, SIDE_LIMIT_PX, draw


def read(png: bytes) -> Image.Image:
    return Image.open(io.BytesIO(png))


def message(value: bytes) -> Message:
    return Message(value, Origin("t"))


def test_star_is_brightest_and_gaps_see_through():
    """The star in the centre is white, and what was not observed is transparent."""
    pixels_HW = packets.sky(1, 21)
    pixels_HW[0] = np.nan
    image = read(draw(pixels_HW, diverging=False))
    assert image.size == (21, 21)
    assert image.convert("RGB").getpixel((10, 10)) == (255, 255, 255)
    assert image.getpixel((3, 20)) == NOT_OBSERVED == image.info["transparency"]


def test_difference_has_two_colours():
    """What is brighter than the template is red, what is fainter is blue, nothing is white."""
    pixels_HW = np.zeros((5, 5), np.float32)
    pixels_HW[2, 1], pixels_HW[2, 3] = 50, -50
    image = read(draw(pixels_HW, diverging=True)).convert("RGB")
    (red, _, blue), (red_too, _, blue_too) = image.getpixel((1, 2)), image.getpixel((3, 2))
    assert red > 2 * blue
    assert blue_too > 2 * red_too
    assert min(image.getpixel((0, 0))) > 240


def test_any_pixels_make_a_picture():
    """Constant, empty, huge and infinite pixels are drawn without complaint, large stamps about their centre."""
    for value in (0.0, np.nan, 3e38, np.inf, -1.0):
        for diverging in (True, False):
            assert read(draw(np.full((7, 4), value, np.float32), diverging)).size == (4, 7)
    assert read(draw(packets.sky(1, 400), False)).size == (SIDE_LIMIT_PX, SIDE_LIMIT_PX)


def test_the_stamps_of_the_alert_that_is_asked_for():
    """Of a packet, the three stamps; of another alert's id, none."""
    packet = message(packets.ztf_packet(candid=17))
    drawn = pictures(packet, 17, Schemas())
    assert {kind: read(png).size for kind, png in drawn.items()} == dict.fromkeys(
        ("science", "template", "difference"), (63, 63)
    )
    assert pictures(packet, 18, Schemas()) == {}


def test_lsst_stamps_are_drawn_too():
    """Uncompressed stamps of another size, behind a schema id."""
    lsst = message(packets.lsst_packet())
    (alert,) = read_alerts(lsst, Schemas())
    drawn = pictures(lsst, alert.alert_id, Schemas())
    assert {read(png).size for png in drawn.values()} == {(packets.LSST_SIDE, packets.LSST_SIDE)}
    assert len(drawn) == 3


def test_what_is_wrong_with_a_stamp_leaves_it_out():
    """A stamp that does not inflate, a stamp that is null, or a message that is no packet, give no picture."""
    stamps = packets.ztf_stamps() | {"cutoutScience": b"\x1f\x8b rubbish", "cutoutTemplate": None}
    assert pictures(message(packets.ztf_packet(candid=17, stamps=stamps)), 17, Schemas()).keys() == {"difference"}
    assert pictures(message(b"rubbish"), 17, Schemas()) == {}

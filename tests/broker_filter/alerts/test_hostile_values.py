"""Numbers that no survey would send, through the service with its shipped weights: always an answer or a reason."""

from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from itertools import count
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from packets import LSST_SIDE, ZTF_SIDE, fits_bytes, lsst_packet, sky, varint, ztf_packet, ztf_stamp

from broker_filter.alerts.decode import connect
from broker_filter.alerts.packet_schema import Schemas
from broker_filter.classify.classifier import StreamClassifier, cards_of, load_classifiers
from broker_filter.classify.pipeline import Pipeline
from broker_filter.output.formats import container_encoder
from broker_filter.records import Classification, Message, Origin, Rejected
from broker_filter.series.lmdb.store import LmdbSeriesStore

pytestmark = pytest.mark.usefixtures("networks_once")
EXTREMES = st.sampled_from([float("nan"), *(s * x for s in (1, -1) for x in (np.inf, 3e38, 1e30, 1e20, 0.0, 1e-44))])
ENCODE = container_encoder()
NAMES = count(1)  # of objects: what one example left in the store must not be another's past


@cache
def classifiers() -> dict[str, StreamClassifier]:
    """The shipped ones, read once."""
    return load_classifiers()


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pipeline]:
    """The service between its topics."""
    store = LmdbSeriesStore(Path(tmp_path_factory.mktemp("hostile")) / "store", max_bytes=256 << 20, sync=False)
    yield Pipeline(connect(Schemas(), cards_of(classifiers()), threads=1), classifiers(), store)
    store.close()


def result_of(pipeline: Pipeline, packet: bytes, **more: object) -> Classification | Rejected:
    """What the service says of one packet; if it says a class, it says so in numbers, and can be published."""
    message = replace(Message(packet, Origin("hostile")), **more)  # type: ignore[arg-type]
    done = pipeline.process([message])
    pipeline.settle(done)
    (outcome,) = [outcome for outcome in done.outcomes if outcome.message is message]
    for other in done.outcomes:
        if isinstance(other.result, Classification) and other.result.reason is None:
            total = sum(other.result.probabilities.values())
            assert total == pytest.approx(1.0, abs=1e-5), f"probabilities {other.result.probabilities}"
            ENCODE(other.result)
    return outcome.result


def classified(result: Classification | Rejected) -> bool:
    return isinstance(result, Classification) and result.reason is None


numbers = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.mark.slow
@numbers
@given(data=st.data())
def test_a_candidate_of_ztf(pipeline: Pipeline, data: st.DataObject) -> None:
    """Whatever its magnitudes and those of its past are; the object's next alert is answered, too."""
    numbers_of = st.fixed_dictionaries({"magpsf": EXTREMES, "sigmapsf": EXTREMES})
    epoch_facts = {"jd": 2_459_430.0, "fid": 2, "pid": 7, "isdiffpos": "t", "diffmaglim": 20.0}
    past = [epoch_facts | epoch for epoch in data.draw(st.lists(numbers_of, max_size=2))]
    object_id = f"ZTF21{next(NAMES)}"
    names = data.draw(st.sets(st.sampled_from(["magpsf", "sigmapsf", "ssdistnr", "drb", "rb", "xpos", "ypos"])))
    fields = {name: data.draw(EXTREMES) for name in sorted(names)}
    result_of(pipeline, ztf_packet(object_id=object_id, previous=past, **fields))
    assert classified(result_of(pipeline, ztf_packet(object_id=object_id, candid=5, jd=2_459_440.0)))


@pytest.mark.slow
@numbers
@given(flux=EXTREMES, error=EXTREMES, forced_flux=EXTREMES, forced_error=EXTREMES)
def test_a_source_of_lsst(
    pipeline: Pipeline, flux: float, error: float, forced_flux: float, forced_error: float
) -> None:
    """Whatever its fluxes and those of its past are; the object's next alert is answered, too."""
    name = next(NAMES)
    forced = [{"midpointMjdTai": 61_100.0, "band": "r", "psfFlux": forced_flux, "psfFluxErr": forced_error}]
    assert classified(result_of(pipeline, lsst_packet(object_id=name, psfFlux=flux, psfFluxErr=error, forced=forced)))
    assert classified(result_of(pipeline, lsst_packet(object_id=name, source_id=5, midpointMjdTai=61_110.0)))


@pytest.mark.parametrize("value", [np.inf, -np.inf, 3e38, -3e38, 1e-44, 0.0])
def test_pixels(pipeline: Pipeline, value: float) -> None:
    """Whatever a pixel, or all of them, hold."""
    fields = ("cutoutScience", "cutoutTemplate", "cutoutDifference")
    for whole in (False, True):
        for write, side, packet in ((ztf_stamp, ZTF_SIDE, ztf_packet), (fits_bytes, LSST_SIDE, lsst_packet)):
            pixels_HW = sky(1, side)
            pixels_HW[... if whole else (side // 2, side // 2)] = value
            stamps = dict.fromkeys(fields, write(pixels_HW))
            assert isinstance(result_of(pipeline, packet(stamps=stamps)), Classification)


def test_an_integer_of_more_than_64_bits_is_corrupt(pipeline: Pipeline) -> None:
    """Ten bytes can hold 70 bits; Avro's numbers have 64."""
    source_id = 170_112_044_583_354_426
    packet = lsst_packet(source_id=source_id)
    longest = packet.replace(varint(source_id), b"\xff" * 9 + b"\x7f")
    assert longest != packet
    assert isinstance(result_of(pipeline, longest), Rejected)


@pytest.mark.parametrize("digits", [30, 5_000])
def test_a_time_of_publication_of_many_digits(pipeline: Pipeline, digits: int) -> None:
    """A header is the sender's, too."""
    result = result_of(pipeline, ztf_packet(), headers=(("producer_timestamp", b"9" * digits),))
    assert classified(result)

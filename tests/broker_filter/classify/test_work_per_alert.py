"""How much work an alert is, counted instead of timed: calls that our own code makes, on packets that are always alike.

A count does not depend on the machine. What happens within one call of a library is not seen: the benchmarks time that.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from packets import lsst_packet, ztf_packet

from broker_filter.alerts.decode import connect
from broker_filter.alerts.packet_schema import Schemas
from broker_filter.classify.classifier import cards_of, load_classifiers
from broker_filter.classify.pipeline import Pipeline
from broker_filter.records import Message, Origin
from broker_filter.series.lmdb.store import LmdbSeriesStore

OURS = tuple(str(Path(__file__).parents[3] / package) for package in ("broker_filter", "model"))
BATCH = 16
PACKETS: dict[str, Callable[[int], bytes]] = {
    "ztf": lambda n: ztf_packet(object_id=f"ZTF26work{n:03d}", candid=1_000 + n, previous=25),
    "lsst": lambda n: lsst_packet(object_id=1 + n, source_id=1_000 + n, history=60),
}
# Calls of an alert: decoded, then classified and settled in a batch of 16. Whoever makes an alert cheaper writes the
# smaller number here; whoever adds work says in the commit what for.
CALLS = {"ztf": (480, 415), "lsst": (608, 419)}
TOLERANCE = 0.05


class Calls:
    """Counts the calls of functions that are ours, and those that ours make into libraries in C."""

    def __init__(self) -> None:
        self.number = 0

    def __call__(self, frame: FrameType, event: str, _: Any) -> None:
        code = frame.f_code
        if event in ("call", "c_call") and code.co_filename.startswith(OURS):
            # Versions of Python differ in whether a comprehension is a function.
            self.number += event == "c_call" or not code.co_name.startswith("<") or code.co_name == "<lambda>"

    def of(self, work: Callable[[], Any]) -> Any:
        """What the work returns, its calls counted."""
        sys.setprofile(self)
        try:
            return work()
        finally:
            sys.setprofile(None)


@pytest.mark.slow
@pytest.mark.parametrize("survey", PACKETS)
def test_an_alert_is_no_more_work_than_it_was(survey: str, tmp_path: Path) -> None:
    """Decoding and classifying an alert make the committed numbers of calls, within 5 %."""
    classifiers = load_classifiers((survey,))
    store = LmdbSeriesStore(tmp_path / "store", max_bytes=64 << 20, sync=False)
    decoder = connect(Schemas(), cards_of(classifiers), 1)
    pipeline = Pipeline(decoder, classifiers, store)
    batches = [
        [Message(PACKETS[survey](n), Origin("made", 0, n)) for n in range(first, first + BATCH)] for first in (0, BATCH)
    ]
    pipeline.settle(pipeline.process(batches[0]))  # schemas are compiled, caches filled
    decode, classify = Calls(), Calls()
    arrivals = decode.of(lambda: decoder.decode(batches[1]))
    done = classify.of(lambda: pipeline.classify(arrivals))
    classify.of(lambda: pipeline.settle(done))
    store.close()
    assert done.accounts.classified == BATCH
    calls = decode.number / BATCH, classify.number / BATCH
    assert calls == pytest.approx(CALLS[survey], rel=TOLERANCE), (
        f"calls of an alert: {calls}, committed {CALLS[survey]}"
    )

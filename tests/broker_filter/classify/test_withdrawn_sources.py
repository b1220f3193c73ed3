"""Sources that LSST takes back: they leave the series, and what was answered with them is revised."""

import io
import json
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import fake_stream as fake
import fastavro
import numpy as np
import pytest
from packets import container, lsst_datum, lsst_packet, lsst_schema

from broker_filter.alerts.alert import read_alerts
from broker_filter.alerts.decode import Arrival
from broker_filter.alerts.packet_schema import Schemas
from broker_filter.archive.time_order import pack_arrival, unpack_arrival
from broker_filter.classify.pipeline import Pipeline
from broker_filter.errors import NotClassified
from broker_filter.records import Alert, Classification, Message, Origin, Withdrawal
from broker_filter.series.lmdb.store import LmdbSeriesStore
from broker_filter.series.redis.store import RedisSeriesStore
from broker_filter.series.store import SeriesStore
from model.past_photometry import History
from model.series import BANDS

DAY0 = 60_000.0
TOLD = History(np.array([DAY0 - 3.0]), np.array([1], np.int8), np.array([7.0], np.float32), np.array([1.0], np.float32))


@pytest.fixture(params=["lmdb", "redis"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SeriesStore]:
    """Each store in turn, empty."""
    opened: SeriesStore
    if request.param == "lmdb":
        opened = LmdbSeriesStore(tmp_path / "store", max_bytes=32 << 20, sync=False)
    else:
        port = request.getfixturevalue("redis_port")
        opened = RedisSeriesStore(f"redis://127.0.0.1:{port}", namespace=f"withdrawn{hash(tmp_path)}")
    yield opened
    opened.close()


def arrival(number: int, *withdrawn: int, history: History | None = None, frame: bool = True) -> Arrival:
    """The alert of a day, that perhaps tells of others that were taken back."""
    time_mjd = DAY0 + number
    past = fake.history(time_mjd) if history is None else history
    seen = fake.observation(number, time_mjd, history=past) if frame else None
    gone = tuple(Withdrawal(n, DAY0 + n, n % 6, 5.0) for n in withdrawn)
    reason = None if frame else NotClassified.NO_STAMPS
    message = Message(b"", Origin("fake", 0, number))
    return Arrival("ztf", "ZTF1", number, time_mjd, BANDS[number % 6], 0, message, seen, reason, withdrawn=gone)


def run(store: SeriesStore, *batches: list[Arrival]) -> list[Classification]:
    """Classifications of some batches, one after the other."""
    pipeline = Pipeline(fake.decoder(), fake.classifiers(), store)
    results: list[Classification] = []
    for batch in batches:
        done = pipeline.classify(batch)
        assert done.accounts.balanced
        pipeline.settle(done)
        results += [o.result for o in done.outcomes if isinstance(o.result, Classification)]
    return results


def as_if_never(folder: Path, *numbers: int) -> dict[tuple[str, int], Classification]:
    """What is answered of a series that never had the others."""
    never = LmdbSeriesStore(folder / "never", max_bytes=32 << 20, sync=False)
    try:
        return fake.final_state(run(never, [arrival(n) for n in numbers]))
    finally:
        never.close()


def test_a_withdrawn_source_leaves_the_series(store: SeriesStore, tmp_path: Path) -> None:
    """Answers after it are published again as if it had never come, those before it are not."""
    results = run(store, *[[arrival(n)] for n in range(1, 9)], [arrival(9, 4)])
    revised = [(r.alert_id, r.revision) for r in results[8:]]
    assert revised == [(9, False), (5, True), (6, True), (7, True), (8, True)]
    expected = as_if_never(tmp_path, 1, 2, 3, 5, 6, 7, 8, 9)
    for result in results[8:]:
        never = replace(expected["ZTF1", result.alert_id], alert_time_ms=result.alert_time_ms)
        assert replace(fake.timeless(result), detection=None) == replace(never, detection=None)
    assert store.stats().observations == 8


def test_it_stays_away(store: SeriesStore, tmp_path: Path) -> None:
    """Later packets go on to tell of it: nothing more is revised, and the series goes on without it."""
    results = run(store, *[[arrival(n)] for n in range(1, 6)], [arrival(6, 2)], [arrival(7, 2)], [arrival(8, 2)])
    assert [r.alert_id for r in results[-2:]] == [7, 8]
    never = as_if_never(tmp_path, 1, 3, 4, 5, 6, 7, 8)["ZTF1", 8]
    assert results[-1].probabilities == never.probabilities


@pytest.mark.parametrize("split", [1, 2, 3, 5])
def test_whatever_the_batches(store: SeriesStore, tmp_path: Path, split: int) -> None:
    """The last answer of each alert is the same however the alerts are batched, also beside the one taken back."""
    arrivals = [*map(arrival, range(1, 6)), arrival(6, 3), arrival(7, 3, 5)]
    batches = [arrivals[start : start + split] for start in range(0, len(arrivals), split)]
    last = {r.alert_id: r for r in run(store, *batches)}
    expected = as_if_never(tmp_path, 1, 2, 4, 6, 7)
    for number in (1, 2, 4, 6, 7):
        assert last[number].probabilities == expected["ZTF1", number].probabilities
    assert store.stats().observations == 5


def test_one_that_comes_with_its_own_withdrawal(store: SeriesStore) -> None:
    """A source that is taken back within the batch that brings it is not classified, and says why."""
    first, second = run(store, [arrival(1), arrival(2, 1)])
    assert (first.reason, second.reason) == (NotClassified.WITHDRAWN, None)
    assert second.observation_count == 1


def test_a_packet_without_stamps_tells_too(store: SeriesStore) -> None:
    """An alert that gets no class of its own still takes the source out of the series."""
    results = run(store, [arrival(1)], [arrival(2)], [arrival(3)], [arrival(4, 2, frame=False)])
    assert [(r.alert_id, r.revision, r.reason) for r in results[3:]] == [
        (4, False, NotClassified.NO_STAMPS),
        (3, True, None),
    ]
    assert store.stats().observations == 2


def test_a_packet_without_stamps_of_an_unknown_object(store: SeriesStore) -> None:
    """Of an object that is not in the store nothing is revised."""
    (only,) = run(store, [arrival(4, 2, frame=False)])
    assert only.reason == NotClassified.NO_STAMPS


def test_a_batch_that_is_read_again(store: SeriesStore) -> None:
    """A crash between delivery and settling repeats the same revisions; after settling there are none."""
    run(store, *[[arrival(n)] for n in range(1, 5)])
    pipeline = Pipeline(fake.decoder(), fake.classifiers(), store)
    once, twice = pipeline.classify([arrival(5, 2)]), pipeline.classify([arrival(5, 2)])

    def answers(done) -> list[tuple[int, bool]]:
        return [(o.result.alert_id, o.result.revision) for o in done.outcomes]

    assert answers(once) == answers(twice) == [(5, False), (3, True), (4, True)]
    pipeline.settle(twice)
    assert answers(pipeline.classify([arrival(5, 2)])) == [(5, False)]


def test_what_earlier_packets_told_of_it_is_forgotten(store: SeriesStore) -> None:
    """An epoch of which packets told before the withdrawal is not read after it, others are."""
    gone = Withdrawal(99, DAY0 - 3.0, 1, 7.0)
    other = Withdrawal(98, DAY0 - 3.0, 1, 8.0)
    run(store, [arrival(1, history=TOLD)])
    empty = TOLD[:0]
    pipeline = Pipeline(fake.decoder(), fake.classifiers(), store)
    counts = [
        pipeline.classify([replace(arrival(2, history=empty), withdrawn=withdrawals)]).outcomes[0].result.history_count
        for withdrawals in ((), (other,), (gone,))
    ]
    assert counts == [1, 1, 0]


def sources(**marks: object) -> list[dict[str, object]]:
    """Three earlier sources, the second with marks of its own."""
    epochs: list[dict[str, object]] = [
        {"diaSourceId": n, "midpointMjdTai": 61_100.0 + n, "band": "r", "psfFlux": 100.0 * n, "psfFluxErr": 5.0}
        for n in (1, 2, 3)
    ]
    epochs[1] |= marks
    return epochs


def read(histories: dict[str, str] | None = None, **fields) -> Alert:
    (alert,) = read_alerts(Message(lsst_packet(**fields), Origin("t")), Schemas(), histories or {})
    assert isinstance(alert, Alert)
    return alert


@pytest.mark.parametrize("bands", ["", BANDS])
def test_packets_tell_which_sources_were_withdrawn(bands: str) -> None:
    """Id, time, band and flux of a withdrawn source are read, whether the network reads the past or not."""
    alert = read({"lsst": bands}, sources=sources(timeWithdrawnMjdTai=61_105.0))
    assert alert.withdrawn == (Withdrawal(2, 61_102.0, BANDS.index("r"), 200.0),)
    assert len(alert.history) == (2 if bands else 0)
    assert read({"lsst": bands}, sources=sources()).withdrawn == ()


def test_an_alert_of_a_withdrawn_source() -> None:
    """A packet whose own source was taken back says so."""
    alert = read({"lsst": ""}, source_id=5, timeWithdrawnMjdTai=61_200.0)
    assert [source.alert_id for source in alert.withdrawn] == [5]


def test_withdrawals_survive_the_sorting_of_a_replay() -> None:
    """What a packet tells of others is kept while an archive is put in order of time."""
    one = replace(arrival(3, 1), withdrawn=(Withdrawal(1, 2.0, 3, 4.5), Withdrawal(2**62, 2.0, 3, math.nan)))
    back = unpack_arrival(pack_arrival(one))
    assert back.withdrawn[0] == one.withdrawn[0]
    assert back.withdrawn[1][:3] == one.withdrawn[1][:3]
    assert math.isnan(back.withdrawn[1].flux_njy)


@pytest.mark.parametrize("flag", ["psfFlux_flag", "psfFlux_flag_edge", "psfFlux_flag_noGoodPixels"])
def test_a_flagged_flux_is_unknown(flag: str) -> None:
    """The flux of an alert whose measurement failed is unknown, its stamps and position are read."""
    alert = read(psfFlux=1e6, **{flag: True})
    assert math.isnan(alert.flux_njy) and math.isnan(alert.flux_error_njy)
    assert alert.ra_deg == 150.5
    assert read(psfFlux=1e6, **{flag: False}).flux_njy == 1e6


def test_flagged_fluxes_of_the_past_are_unknown() -> None:
    """Earlier sources whose measurement failed are no epochs of the past; other flags do not matter."""
    assert len(read({"lsst": BANDS}, sources=sources(psfFlux_flag=True)).history) == 2
    assert len(read({"lsst": BANDS}, sources=sources(psfFlux_flag=False, shape_flag=True)).history) == 3


def test_flags_that_are_integers() -> None:
    """Flags that a broker passes on as integers mean what the survey's booleans mean, in the alert and in the past."""
    schema = json.loads(json.dumps(lsst_schema()).replace('"boolean"', '"int"'))
    epochs = [source | {"midpointMjdTai": 61_100.0 - n} for n, source in enumerate(sources() * 4)]
    written = lsst_datum(sources=epochs)
    record = cast(dict[str, Any], fastavro.schemaless_reader(io.BytesIO(written), lsst_schema()))
    for flag in (0, 1):
        for source in (record["diaSource"], *record["prvDiaSources"][1::3]):
            source["psfFlux_flag"] = flag
        message = Message(container(schema, [record]), Origin("t"))
        (alert,) = read_alerts(message, Schemas(), {"lsst": BANDS})
        assert isinstance(alert, Alert)
        assert math.isnan(alert.flux_njy) == bool(flag)
        assert len(alert.history) == (8 if flag else 12)


@pytest.mark.parametrize(("score", "known"), [(0.0, 0.0), (1.0, 1.0), (-999.0, None), (1.5, None), (math.nan, None)])
def test_scores_outside_their_range_are_none(score: float, known: float | None) -> None:
    """A real/bogus score is between 0 and 1; what stands for none is not taken for one."""
    assert read(reliability=score).real_bogus == known

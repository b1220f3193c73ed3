"""Messages in, outcomes out: accounts, order, late alerts, duplicates, and independence of batches."""

import random
from collections.abc import Iterator
from pathlib import Path

import fake_stream as fake
import pytest

from broker_filter.buffer_lmdb import LmdbSeriesStore
from broker_filter.errors import NotClassified, Rejection
from broker_filter.pipeline import Pipeline
from broker_filter.records import Classification, Message, Origin, Rejected


@pytest.fixture
def store(tmp_path: Path) -> Iterator[LmdbSeriesStore]:
    opened = LmdbSeriesStore(tmp_path / "store", max_bytes=32 << 20, sync=False)
    yield opened
    opened.close()


def night(objects: int = 5, alerts: int = 14) -> list[Message]:
    """Alerts of some objects in time order."""
    listed = [(60_000 + t + o / 10, f"ZTF{o}", 1 + t * 100 + o) for t in range(alerts) for o in range(objects)]
    return [fake.message(name, alert, mjd, i) for i, (mjd, name, alert) in enumerate(sorted(listed))]


def run(pipeline: Pipeline, messages: list[Message], batch: int) -> list[object]:
    results: list[object] = []
    for start in range(0, len(messages), batch):
        done = pipeline.process(messages[start : start + batch])
        assert done.accounts.balanced
        pipeline.settle(done)
        results += [outcome.result for outcome in done.outcomes]
    return results


def run_afresh(folder: Path, messages: list[Message], batch: int) -> list[object]:
    store = LmdbSeriesStore(folder, max_bytes=32 << 20, sync=False)
    try:
        return run(Pipeline(fake.decoder(), fake.classifiers(), store), messages, batch)
    finally:
        store.close()


def test_one_outcome_per_alert_in_message_order(store: LmdbSeriesStore) -> None:
    """Every alert gets one outcome, in the order of the messages, and the accounts are exact."""
    messages = [
        fake.message("ZTF1", 1, 60_000.0),
        Message(b"not json", Origin("fake", 0, 1)),
        fake.message("blank", 2, 60_000.0),
        fake.message("ZTF2", 3, 60_000.0, moving=True),
        fake.message("X", 4, 60_000.0, survey="other"),
        Message(b"[]", Origin("fake", 0, 5)),
    ]
    done = Pipeline(fake.decoder(), fake.classifiers(), store).process(messages)
    assert [outcome.message for outcome in done.outcomes] == messages
    results = [outcome.result for outcome in done.outcomes]
    reasons = [getattr(result, "reason", None) for result in results]
    assert reasons == [
        None,
        Rejection.NOT_AVRO,
        NotClassified.BLANK_STAMP,
        NotClassified.SOLAR_SYSTEM,
        Rejection.FOREIGN_SURVEY,
        Rejection.CORRUPT,
    ]
    assert done.accounts.read == 6
    assert done.accounts.classified == 1
    assert isinstance(results[0], Classification)
    assert sum(results[0].probabilities.values()) == pytest.approx(1, abs=1e-12)
    assert isinstance(results[1], Rejected)


@pytest.mark.parametrize("batch", [1, 7, 1000])
def test_batches_do_not_matter(tmp_path: Path, batch: int) -> None:
    """Alerts in time order get the same classifications whatever the batches."""
    one_by_one = run_afresh(tmp_path / "one", night(), 1)
    batched = run_afresh(tmp_path / "many", night(), batch)
    assert [fake.timeless(c) for c in one_by_one] == [fake.timeless(c) for c in batched]


def test_shuffled_and_duplicated_alerts_end_in_the_same_state(tmp_path: Path) -> None:
    """Whatever the order of arrival, each alert's last word is that of the run in time order."""
    messages = night(objects=4, alerts=6)
    shuffled = messages * 2
    random.Random(5).shuffle(shuffled)
    expected = fake.final_state(run_afresh(tmp_path / "ordered", messages, 3))
    assert fake.final_state(run_afresh(tmp_path / "shuffled", shuffled, 5)) == expected

"""Messages in, outcomes out: accounts, order, late alerts, duplicates, and independence of batches."""

import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import fake_stream as fake
import numpy as np
import orjson
import pytest
import redis

from broker_filter.alerts.decode import Decoder
from broker_filter.classify.classifier import StreamClassifier
from broker_filter.classify.pipeline import Pipeline
from broker_filter.errors import FatalError, NotClassified, Rejection, RetryableError
from broker_filter.output.formats import json_line
from broker_filter.records import Alert, Classification, Message, Observation, Origin, Rejected
from broker_filter.series.lmdb.store import LmdbSeriesStore
from broker_filter.series.redis.store import RedisSeriesStore
from broker_filter.series.rows import sortable_id
from broker_filter.series.store import SeriesStore
from model.series import compact
from model.serving.predictor import Prediction, Predictor


@pytest.fixture(params=["lmdb", "redis"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SeriesStore]:
    """Each store in turn, empty."""
    opened: SeriesStore
    if request.param == "lmdb":
        opened = LmdbSeriesStore(tmp_path / "store", max_bytes=32 << 20, sync=False)
    else:
        port = request.getfixturevalue("redis_port")
        opened = RedisSeriesStore(f"redis://127.0.0.1:{port}", namespace=f"pipeline{hash(tmp_path)}")
    yield opened
    opened.close()


def night(objects: int = 5, alerts: int = 14) -> list[Message]:
    """Alerts of some objects in time order."""
    listed = [(60_000 + t + o / 10, f"ZTF{o}", 1 + t * 100 + o) for t in range(alerts) for o in range(objects)]
    return [fake.message(name, alert, mjd, i) for i, (mjd, name, alert) in enumerate(sorted(listed))]


def run(pipeline: Pipeline, messages: list[Message], batch: int) -> list[Any]:
    results: list[Any] = []
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


def test_one_outcome_per_alert_in_message_order(store: SeriesStore) -> None:
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
        None,
        Rejection.FOREIGN_SURVEY,
        Rejection.EMPTY,
    ]
    assert done.accounts.read == 6
    assert done.accounts.classified == 2
    assert isinstance(results[0], Classification)
    assert sum(results[0].probabilities.values()) == pytest.approx(1, abs=1e-12)
    assert isinstance(results[1], Rejected)


def test_replicas_on_one_store_know_the_class_before(store: SeriesStore, tmp_path: Path) -> None:
    """Processes that take turns on a store say of each alert the class before that one process would have said."""
    messages = night(3, 8)
    alone = run_afresh(tmp_path / "alone", messages, 3)
    replicas = [Pipeline(fake.decoder(), fake.classifiers(), store) for _ in range(2)]
    together = [one for start in range(0, 24, 3) for one in run(replicas[start % 2], messages[start : start + 3], 3)]
    before = [getattr(one, "previous_class", None) for one in alone]
    assert [getattr(one, "previous_class", None) for one in together] == before
    assert before[:3] == [None] * 3 and None not in before[3:]


def test_what_a_packet_tells_is_answered_with_its_reason(store: SeriesStore) -> None:
    """A moving object and an artefact have a class, its probability and the reason; the network's share is the rest."""
    messages = [
        fake.message("ZTF1", 1, 60_000.0, moving=True),
        fake.message("ZTF2", 2, 60_000.0, real_bogus=0.0625),
        fake.message("ZTF3", 3, 60_000.0, real_bogus=0.25),
        fake.message("ZTF2", 4, 60_001.0, real_bogus=0.75),
    ]
    pipeline = Pipeline(fake.decoder(), fake.classifiers(), store)
    moving, bogus, doubtful, later = (outcome.result for outcome in pipeline.process(messages).outcomes)
    assert isinstance(moving, Classification) and isinstance(bogus, Classification)
    assert isinstance(doubtful, Classification) and isinstance(later, Classification)
    assert (moving.status, moving.best, moving.evidence) == ("classified", "Asteroid", "packet")
    assert moving.probabilities["Asteroid"] == fake.MATCH.probability
    assert moving.moving_object == fake.MATCH.known and moving.explanation == fake.MATCH.words
    assert moving.observation_count == 0
    assert (bogus.best, bogus.probabilities["Bogus"], bogus.evidence) == ("Bogus", 0.9375, "packet")
    assert bogus.observation_count == 1 and "0.062" in (bogus.explanation or "")
    assert bogus.prediction_set is None
    assert "Bogus" not in doubtful.probabilities and doubtful.evidence == "stamps"
    assert later.previous_class == "Bogus" and later.evidence == "stamps"
    for answer in (moving, bogus, doubtful, later):
        assert sum(answer.probabilities.values()) == pytest.approx(1, abs=1e-12)
        assert answer.broad_probabilities is not None
        assert sum(answer.broad_probabilities.values()) == pytest.approx(1, abs=1e-12)


def test_an_answer_that_is_no_number_is_not_published(store: SeriesStore) -> None:
    """Where the network's arithmetic leaves the range of floats, the alert says so and has no class, nor later ones."""

    class Overflown(fake.FakePredictor):
        def classify(self, *asked: Any) -> Prediction:
            answer = super().classify(*asked)
            return replace(answer, probabilities_BK=np.full_like(answer.probabilities_BK, np.nan))

    pipeline = Pipeline(fake.decoder(), {"ztf": StreamClassifier(Overflown())}, store)
    first, later = run(pipeline, [fake.message("ZTF1", 1, 60_000.0), fake.message("ZTF1", 2, 60_001.0)], 2)
    for answer in (first, later):
        assert (answer.status, answer.reason) == ("not_classified", NotClassified.UNSUPPORTED_STAMP)
        assert not answer.probabilities and answer.previous_class is None


@pytest.mark.parametrize("batch", [1, 7, 1000])
def test_batches_do_not_matter(tmp_path: Path, batch: int) -> None:
    """Alerts in time order get the same classifications whatever the batches."""
    one_by_one = run_afresh(tmp_path / "one", night(), 1)
    batched = run_afresh(tmp_path / "many", night(), batch)
    assert [fake.timeless(c) for c in one_by_one] == [fake.timeless(c) for c in batched]


def test_shuffled_and_duplicated_alerts_end_in_the_same_state(tmp_path: Path) -> None:
    """Whatever the order of arrival, each alert's last word is that of the run in time order."""
    messages = night(objects=4, alerts=9)
    shuffled = messages * 2
    random.Random(5).shuffle(shuffled)
    expected = fake.final_state(run_afresh(tmp_path / "ordered", messages, 3))
    assert fake.final_state(run_afresh(tmp_path / "shuffled", shuffled, 5)) == expected


def test_late_alert_is_classified_as_of_its_time_and_revises_later_ones(store: SeriesStore) -> None:
    """A late alert uses what lies before it; everything later is published again, marked, with it included."""
    pipeline = Pipeline(fake.decoder(), fake.classifiers(), store)
    run(pipeline, [fake.message("ZTF1", i, 60_000.0 + i) for i in (1, 2, 5, 6)], 2)
    done = pipeline.process([fake.message("ZTF1", 3, 60_003.0), fake.message("ZTF2", 9, 60_003.0)])
    answers = [(o.result.alert_id, o.result.observation_count, o.result.revision) for o in done.outcomes]
    assert answers == [(3, 3, False), (5, 4, True), (6, 5, True), (9, 1, False)]
    assert done.accounts.read == 2
    assert done.accounts.revisions == 2
    assert {o.message.value for o in done.outcomes[:3]} == {fake.message("ZTF1", 3, 60_003.0).value}


def test_settled_duplicates_are_classified_again_without_revisions(store: SeriesStore) -> None:
    """A message that comes again after its delivery gets its classification again, and nothing else."""
    pipeline = Pipeline(fake.decoder(), fake.classifiers(), store)
    messages = [fake.message("ZTF1", i, 60_000.0 + i) for i in range(1, 9)]
    first = run(pipeline, messages, 3)
    again = run(pipeline, [messages[2], messages[7], messages[4]], 2)
    assert [fake.timeless(c) for c in again] == [fake.timeless(first[i]) for i in (2, 7, 4)]
    assert not any(c.revision for c in again)


def test_unsettled_batch_can_be_processed_again(store: SeriesStore) -> None:
    """A batch whose delivery failed gives the same outcomes when it is tried again, revisions included."""
    pipeline = Pipeline(fake.decoder(), fake.classifiers(), store)
    run(pipeline, [fake.message("ZTF1", i, 60_000.0 + i) for i in (1, 5)], 2)
    late = [fake.message("ZTF1", 3, 60_003.0)]
    first, again = pipeline.process(late), pipeline.process(late)
    assert [fake.timeless(o.result) for o in first.outcomes] == [fake.timeless(o.result) for o in again.outcomes]
    assert first.accounts == again.accounts
    assert first.accounts.revisions == 1


def test_alert_older_than_a_full_series_is_too_late(store: SeriesStore) -> None:
    """An alert from before all that a full series holds is accounted for as too late."""
    pipeline = Pipeline(fake.decoder(), fake.classifiers(), store)
    run(pipeline, [fake.message("ZTF1", i, 60_000.0 + i) for i in range(1, 30)], 4)
    done = pipeline.process([fake.message("ZTF1", 99, 60_001.5)])
    assert done.accounts.not_classified == {"too_late": 1}
    assert done.accounts.revisions == 0


def test_full_series_reads_at_most_the_networks_frames(store: SeriesStore) -> None:
    """Of a series longer than the network reads, the newest frames count, in whole groups."""
    results = run(Pipeline(fake.decoder(), fake.classifiers(), store), night(objects=1, alerts=12), 5)
    assert [c.observation_count for c in results] == [1, 2, 3, 4, 5, 6, 4, 5, 6, 4, 5, 6]
    assert [c.known_count for c in results] == list(range(1, 13))


def test_a_classification_reads_what_packets_tell_up_to_its_alert(store: SeriesStore) -> None:
    """Beside the frames a network reads the epochs of which the packets of those frames tell, and says how many."""
    results = run(Pipeline(fake.decoder(), fake.classifiers(), store), night(objects=1, alerts=6), 2)
    # Each packet tells of the five nights before it. The first night has its frame in the band in which it is told of,
    # the others in another; the network reads eight epochs.
    assert [c.history_count for c in results] == [5, 5, 6, 7, 8, 8]


def test_networks_without_histories_read_none(tmp_path: Path) -> None:
    """A network that reads no epochs without stamps is given none, whatever the store holds."""
    messages = night(objects=2, alerts=9)
    plain = [fake.FakePredictor(fake.FakeCard(history_limit=0)) for _ in range(2)]
    store = LmdbSeriesStore(tmp_path / "both", max_bytes=32 << 20, sync=False)
    run(Pipeline(fake.decoder(), fake.classifiers(), store), messages[:-4], 3)
    after = run(Pipeline(fake.decoder(), fake.classifiers(plain[0]), store), messages[-4:], 3)
    store.close()
    alone = LmdbSeriesStore(tmp_path / "alone", max_bytes=32 << 20, sync=False)
    expected = run(Pipeline(fake.decoder(), fake.classifiers(plain[1]), alone), messages, 3)[-4:]
    alone.close()
    assert [fake.timeless(c) for c in after] == [fake.timeless(c) for c in expected]
    assert {c.history_count for c in after} == {0}


def test_histories_do_not_touch_embeddings(store: SeriesStore) -> None:
    """Embeddings are of pixels alone: what was kept without histories serves a network that reads them."""
    messages = night(objects=1, alerts=6)
    blind = fake.FakePredictor(fake.FakeCard(history_limit=0))
    run(Pipeline(fake.decoder(), fake.classifiers(blind), store), messages, 1)
    seeing = fake.FakePredictor()
    run(Pipeline(fake.decoder(), fake.classifiers(seeing), store), messages[-1:], 1)
    assert seeing.groups_embedded == 1  # the short one of the alert before, which another process answered


def test_an_update_embeds_one_group(store: SeriesStore) -> None:
    """Embeddings of full groups are kept: each further alert costs one group."""
    predictor = fake.FakePredictor()
    run(Pipeline(fake.decoder(), fake.classifiers(predictor), store), night(objects=1, alerts=14), 1)
    assert predictor.groups_embedded == 14


def test_another_model_version_embeds_afresh(store: SeriesStore) -> None:
    """Kept embeddings of another version of the network are not used."""
    messages = night(objects=1, alerts=6)
    run(Pipeline(fake.decoder(), fake.classifiers(), store), messages, 1)
    newer = fake.FakePredictor(fake.FakeCard(version="2"))
    run(Pipeline(fake.decoder(), fake.classifiers(newer), store), messages[-1:], 1)
    assert newer.groups_embedded == 3  # two of this alert, the short one of the alert before


def test_frames_of_another_shape_stop_the_service(store: SeriesStore) -> None:
    """A network that reads other frames than the store holds is refused, with what to do."""
    run(Pipeline(fake.decoder(), fake.classifiers(), store), night(objects=1, alerts=1), 1)
    larger = fake.FakePredictor(fake.FakeCard(size_px=fake.SIZE_PX + 2, version="2"))
    with pytest.raises(FatalError, match="store of its own"):
        Pipeline(fake.decoder(), fake.classifiers(larger), store).process(night(objects=1, alerts=2)[1:])


def test_containers_of_many_alerts_are_accounted_one_by_one(store: SeriesStore) -> None:
    """A message of three alerts, one of them bad, has three outcomes."""
    records = [orjson.loads(fake.message("ZTF1", i, 60_000.0 + i).value) for i in (1, 2)]
    container = Message(orjson.dumps([records[0], {"bad": True}, records[1]]), Origin("fake"))
    done = Pipeline(fake.decoder(threads=2), fake.classifiers(), store).process([container])
    assert done.accounts.read == 3
    assert done.accounts.classified == 2
    assert done.accounts.rejected == {"bad_value": 1}


def test_equal_object_names_of_two_surveys_are_two_series(store: SeriesStore) -> None:
    """Surveys number their objects independently."""
    lsst = fake.FakePredictor(fake.FakeCard(survey="lsst"))
    two = {**fake.classifiers(), "lsst": StreamClassifier(lsst)}
    both = Decoder(fake.read_alerts, {"ztf": fake.observe, "lsst": fake.observe}, 1)
    messages = [fake.message("7", 1, 60_000.0), fake.message("7", 2, 60_001.0, survey="lsst")]
    done = Pipeline(both, two, store).process(messages)
    assert [o.result.observation_count for o in done.outcomes] == [1, 1]


def test_a_frame_whose_pixels_a_server_dropped(redis_port: int, tmp_path: Path) -> None:
    """The batch is tried once more, its object is classified from what is left, and the others as ever."""
    namespace = f"hole{hash(tmp_path)}"
    store = RedisSeriesStore(f"redis://127.0.0.1:{redis_port}", namespace=namespace)
    pipeline = Pipeline(fake.decoder(), fake.classifiers(), store)
    run(pipeline, night(objects=2, alerts=4), 2)
    with redis.Redis(port=redis_port) as client:
        assert client.hdel(f"{namespace}:ztf/ZTF0:p", sortable_id(301)) == 1  # of its fourth alert, in a short group
    with pytest.raises(RetryableError):
        run(pipeline, night(objects=2, alerts=5)[8:], 2)
    results = run(pipeline, night(objects=2, alerts=5)[8:], 2)
    assert [r.known_count for r in results if isinstance(r, Classification)] == [4, 5]
    assert store.stats().damaged_rows == 1
    store.close()


def test_replicas_on_one_shared_store_end_in_the_same_state(redis_port: int, tmp_path: Path) -> None:
    """Three processes that take one object's alerts between them say in the end what one process says."""
    messages = night(objects=6, alerts=9)
    expected = fake.final_state(run_afresh(tmp_path / "one", messages, 7))
    shares: list[list[Message]] = [[], [], []]
    for message in messages * 2:
        random.Random(message.origin.offset + len(shares[0])).choice(shares).append(message)

    def replica(share: list[Message]) -> list[object]:
        shared = RedisSeriesStore(f"redis://127.0.0.1:{redis_port}", namespace=f"replicas{hash(tmp_path)}")
        try:
            return run(Pipeline(fake.decoder(), fake.classifiers(), shared), share, 4)
        finally:
            shared.close()

    with ThreadPoolExecutor(3) as pool:
        results = [result for results in pool.map(replica, shares) for result in results]
    assert fake.final_state(results) == expected


@pytest.fixture(scope="module", params=["convention", "vigil"])
def networks(request: pytest.FixtureRequest) -> dict[bool, Predictor]:
    """Small untrained networks, by whether they are deterministic; Vigil reads histories."""
    small = {"frame_limit": 12} | ({"history_limit": 16} if request.param == "vigil" else {})
    return {d: Predictor.untrained("ztf", request.param, deterministic=d, **small) for d in (False, True)}


def stamped(alert: Alert) -> Observation:
    """Frames of the shape that the real network reads."""
    rng = np.random.default_rng(alert.alert_id)
    pixels, scale = compact(rng.normal(0, 300, (3, 32, 32)).astype(np.float32))
    return Observation(alert.alert_id, alert.time_mjd, 1, 100.0, 5.0, pixels, scale, alert.history)


def run_network(folder: Path, predictor: Predictor, messages: list[Message], batch: int) -> list[Classification]:
    store = LmdbSeriesStore(folder, max_bytes=64 << 20, sync=False)
    pipeline = Pipeline(Decoder(fake.read_alerts, {"ztf": stamped}), {"ztf": StreamClassifier(predictor)}, store)
    try:
        return [r for r in run(pipeline, messages, batch) if isinstance(r, Classification)]
    finally:
        store.close()


def test_update_path_equals_the_full_path(tmp_path: Path, networks: dict[bool, Predictor]) -> None:
    """With the real network, classifying from kept embeddings equals computing everything afresh to 1e-5."""
    messages = night(objects=2, alerts=7)
    with_kept = run_network(tmp_path / "kept", networks[False], messages, 1)
    afresh = run_network(tmp_path / "afresh", networks[False], messages, len(messages))
    for one, other in zip(with_kept, afresh, strict=True):
        assert one.observation_count == other.observation_count
        assert one.history_count == other.history_count
        assert list(one.probabilities.values()) == pytest.approx(list(other.probabilities.values()), abs=1e-5)


@pytest.mark.slow
def test_deterministic_mode_gives_equal_bytes_in_any_batch(tmp_path: Path, networks: dict[bool, Predictor]) -> None:
    """In the deterministic mode the bytes published do not depend on batches, nor on the order in a batch."""
    messages = night(objects=5, alerts=4)
    published = []
    for batch in (1, 3, 20):
        answers = run_network(tmp_path / str(batch), networks[True], messages, batch)
        published.append([json_line(fake.timeless(c)) for c in answers])
    shuffled = messages[:]
    random.Random(1).shuffle(shuffled)
    answers = run_network(tmp_path / "shuffled", networks[True], shuffled, len(shuffled))
    assert published[0] == published[1] == published[2]
    assert sorted(json_line(fake.timeless(c)) for c in answers) == sorted(published[0])

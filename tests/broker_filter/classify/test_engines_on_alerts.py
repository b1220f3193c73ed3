"""Every real alert that is at hand, or simulated ones in their place, through the stream core with both engines."""

from pathlib import Path

import numpy as np
import pytest
from survey_alerts import SurveyAlerts

from broker_filter.alerts.decode import connect
from broker_filter.alerts.packet_schema import Schemas
from broker_filter.archive.read import read_messages
from broker_filter.classify.classifier import cards_of, load_classifiers
from broker_filter.classify.pipeline import Pipeline
from broker_filter.records import Classification, Message
from broker_filter.series.lmdb.store import LmdbSeriesStore
from model.serving.engine import EngineName

BATCH = 64
AGREE = 1e-5  # of probabilities


def answers(engine: EngineName, messages: list[Message], folder: Path) -> list[Classification]:
    """What the stream core says of the messages, in their order."""
    classifiers = load_classifiers(("ztf", "lsst"), engine=engine)
    store = LmdbSeriesStore(folder / engine, max_bytes=1 << 30, sync=False)
    pipeline = Pipeline(connect(Schemas(), cards_of(classifiers), 1), classifiers, store)
    results = []
    for start in range(0, len(messages), BATCH):
        done = pipeline.process(messages[start : start + BATCH])
        pipeline.settle(done)
        results += [one.result for one in done.outcomes if isinstance(one.result, Classification)]
    store.close()
    return results


@pytest.mark.slow
@pytest.mark.parametrize("survey", ["ztf", "lsst"])
def test_engines_agree_on_every_alert(survey: str, survey_alerts: SurveyAlerts, tmp_path: Path) -> None:
    """Which engine computes cannot be seen in what is published: the same answers, the same sets, to 1e-5."""
    messages = [m for m in read_messages([survey_alerts.alerts / survey]) if isinstance(m, Message)]
    ours, theirs = (answers(engine, messages, tmp_path) for engine in ("onnxruntime", "torch"))
    assert [(c.alert_id, c.status, c.reason) for c in ours] == [(c.alert_id, c.status, c.reason) for c in theirs]
    assert any(c.evidence == "stamps" for c in ours)
    for one, other in zip(ours, theirs, strict=True):
        assert one.probabilities.keys() == other.probabilities.keys()
        differences = [one.probabilities[name] - other.probabilities[name] for name in one.probabilities]
        assert np.abs([0.0, *differences]).max() <= AGREE
        assert (one.history_count, one.observation_count) == (other.history_count, other.observation_count)

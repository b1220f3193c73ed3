"""Publishing and subscribing with SCiMMA's own client, through a Kafka-protocol broker on loopback."""

from collections.abc import Iterator

import pytest
from hop import Stream
from hop.io import StartPosition
from published import classification
from streams import broker_or_skip, create, publish

from broker_filter.errors import NotClassified
from broker_filter.kafka.local_broker import QUICK_GROUP
from broker_filter.output.formats import json_line
from ictc.adapters import hop as adapter
from ictc.adapters.hop import Publisher, main, subscribe

pytestmark = pytest.mark.filterwarnings("default")  # the client's own


@pytest.fixture(scope="module")
def brokers() -> Iterator[str]:
    """The address of a broker."""
    with broker_or_skip() as address:
        yield address


def test_what_is_published_is_read_back(brokers: str) -> None:
    """A classification arrives as it was, through Hopskotch's JSON."""
    create(brokers, "round")
    url = f"kafka://{brokers}/round"
    publisher = Publisher(url, auth=False)
    sent = [classification(n) for n in range(4)]
    assert publisher.publish(sent) == 4
    publisher.close()
    received = list(subscribe(url, auth=False, group="reader-1", from_start=True, until_end=True))
    assert sorted(received, key=lambda one: one.alert_id) == sent


def test_anybody_with_hop_reads_plain_fields(brokers: str) -> None:
    """Without this program, ``hop`` gives a JSON blob with the class's probabilities."""
    create(brokers, "plain")
    url = f"kafka://{brokers}/plain"
    publisher = Publisher(url, auth=False)
    publisher.publish([classification(1)])
    publisher.close()
    stream = Stream(auth=False, start_at=StartPosition.EARLIEST, until_eos=True)
    with stream.open(url, "r", group_id="plain-reader") as messages:
        (blob,) = messages
    assert blob.content["objectId"] == "ZTF24aaaaaaa"
    assert blob.content["probabilities"]["SNIa"] == pytest.approx(0.75)


def test_unsure_and_unclassified_alerts_stay_here(brokers: str) -> None:
    """Below the least probability, and without a class, nothing is published."""
    create(brokers, "sure")
    publisher = Publisher(f"kafka://{brokers}/sure", auth=False, least_probability=0.7)
    nothing = classification(1, probabilities={}, reason=NotClassified.NO_STAMPS)
    assert publisher.publish([classification(0), nothing, classification(3)]) == 1
    publisher.close()


def test_a_test_message_is_passed_over(brokers: str) -> None:
    """Messages marked as a test are not read by ordinary readers."""
    create(brokers, "marked")
    url = f"kafka://{brokers}/marked"
    publisher = Publisher(url, auth=False)
    publisher.publish([classification(1)], test=True)
    publisher.publish([classification(2)])
    publisher.close()
    read = list(subscribe(url, auth=False, group="reader-2", from_start=True, until_end=True))
    assert [one.alert_id for one in read] == [classification(2).alert_id]


def test_a_topic_is_carried_over(
    brokers: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The program reads our output topic and publishes it, and goes on where it ended."""
    create(brokers, "out", "carried")
    reader_of = adapter.TopicReader
    monkeypatch.setattr(adapter, "TopicReader", lambda at, topics, group: reader_of(at, topics, group, QUICK_GROUP))
    url = f"kafka://{brokers}/carried"
    words = [url, "--brokers", brokers, "--topic", "out", "--no-auth", "--idle-exit-s", "3"]
    publish(brokers, "out", [json_line(classification(n)) for n in range(5)])
    assert main(words) == 0
    assert "5 published" in capsys.readouterr().err
    publish(brokers, "out", [json_line(classification(9))])
    assert main(words) == 0
    assert "1 published" in capsys.readouterr().err
    read = list(subscribe(url, auth=False, group="reader-3", from_start=True, until_end=True))
    assert sorted(one.observation_count for one in read) == [1, 2, 3, 4, 5, 10]

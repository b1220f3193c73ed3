"""Messages become arrivals and rejections, in order and without loss, on any number of threads."""

import fake_stream as fake
import pytest

from broker_filter.alerts.decode import Arrival, Decoder, publication_time_ms
from broker_filter.errors import NotClassified, Rejection
from broker_filter.records import Message, Origin, Rejected
from model.clock import unix_ms


@pytest.mark.parametrize("threads", [1, 3])
def test_results_are_in_the_order_of_messages(threads: int) -> None:
    """Threads change nothing but the speed."""
    decoder = fake.decoder(threads)
    messages = [fake.message("ZTF1", i, 60_000.0 + i) for i in range(50)]
    decoded = decoder.decode(messages)
    decoder.close()
    assert [d.alert_id for d in decoded if isinstance(d, Arrival)] == list(range(50))
    assert [d.message for d in decoded] == messages


def test_every_message_has_a_result() -> None:
    """Empty containers and what the archive could not read are results too."""
    unread = Rejected(Message(b"", Origin("x.tar")), Rejection.CORRUPT, "breaks off")
    decoded = fake.decoder().decode([Message(b"[]", Origin("fake")), unread, Message(b"{", Origin("fake"))])
    assert [d.reason for d in decoded] == [Rejection.EMPTY, Rejection.CORRUPT, Rejection.NOT_AVRO]
    assert decoded[1] is unread


def test_alert_without_frame_says_why() -> None:
    """An alert that gets no classification arrives with the reason, and without a frame."""
    (arrival,) = fake.decoder().decode([fake.message("blank", 1, 60_000.0)])
    assert isinstance(arrival, Arrival)
    assert arrival.observation is None
    assert arrival.reason == NotClassified.BLANK_STAMP


def test_objects_are_named_by_survey_and_too_long_names_refused() -> None:
    """The key tells surveys apart; a name that no store could hold is a bad value."""
    fine, long = fake.decoder().decode([fake.message("7", 1, 60_000.0), fake.message("7" * 300, 2, 60_000.0)])
    assert isinstance(fine, Arrival)
    assert fine.key == "ztf/7"
    assert isinstance(long, Rejected)
    assert long.reason == Rejection.BAD_VALUE


def test_survey_without_a_network_is_named() -> None:
    """An alert of a survey without weights is rejected, and the detail says what to give."""
    (rejected,) = Decoder(fake.read_alerts, {}, 1).decode([fake.message("7", 1, 60_000.0)])
    assert isinstance(rejected, Rejected)
    assert "give its weights" in rejected.detail


def test_publication_time_is_the_surveys_own() -> None:
    """LSST's header says when an alert was published; without it the exposure counts."""
    stamped = Message(b"", Origin("x"), headers=(("producer_timestamp", b"1700000000123"),))
    assert publication_time_ms(stamped, 60_000.0) == 1_700_000_000_123
    broken = Message(b"", Origin("x"), headers=(("producer_timestamp", b"soon"),))
    assert publication_time_ms(broken, 60_000.0) == unix_ms(60_000.0)
    # 2023-02-25 00:00:00 TAI is 37 s earlier in UTC.
    assert unix_ms(60_000.0) == 1_677_283_200_000 - 37_000

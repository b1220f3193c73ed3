"""The page for people."""

import html.parser
import re
import threading

import packets
import pytest
from fake_stream import FakeCard
from test_recent import Clock, batch, classification

from broker_filter.alerts.packet_schema import Schemas
from broker_filter.classify.outcome import BatchResult
from broker_filter.errors import NotClassified, Rejection
from broker_filter.monitoring.health import Health
from broker_filter.monitoring.ledger import Ledger
from broker_filter.monitoring.metrics import Metrics
from broker_filter.monitoring.recent import Recent
from broker_filter.monitoring.status import FRESH_S, StatusPage
from broker_filter.monitoring.status_view import card_view, duration, in_words, number, object_view, rate_path, size
from broker_filter.records import Message, Origin, Outcome, Rejected, account

HOSTILE = '<script>alert("1")</script>\u202e&\'\ud800'
VOID = {"meta", "img", "input"}


class Rooms:
    """A page and what it looks at."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.metrics, self.health = Metrics(), Health(60, self.clock)
        self.ledger, self.recent = Ledger(self.metrics), Recent(clock=self.clock)
        lines = [("reads", "night <1>")]
        self.page = StatusPage(lines, self.metrics, self.health, self.ledger, self.recent, self.clock)

    def enter(self, result: BatchResult) -> None:
        self.ledger.enter(result)
        self.recent.enter(result)

    def text(self) -> str:
        self.clock.now_s += 100
        self.health.polled()
        return self.page.page().decode()


@pytest.fixture
def rooms() -> Rooms:
    return Rooms()


class Checker(html.parser.HTMLParser):
    """Whether every element is closed where it should be."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.words: list[str] = []

    def handle_starttag(self, tag, attrs):
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        """It closes itself."""

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words += data.split()


def words_of(page: str) -> str:
    checker = Checker()
    checker.feed(page)
    assert checker.open == []
    return " ".join(checker.words)


def test_page_answers_before_anything_is_there(rooms):
    """While the service starts the page says so."""
    words = words_of(rooms.text())
    assert "not ready" in words
    assert "the service starts" in words
    assert "No classification yet." in words


def test_numbers_on_the_page_are_the_books(rooms):
    """Read, classified, not classified and rejected, with reasons, stand there as counted."""
    rejected = Rejected(Message(b"?", Origin("t", 1, 0)), Rejection.NOT_AVRO, "no")
    outcomes = (
        *(Outcome(Message(b"", Origin("t", 0, n)), classification("a", n)) for n in range(1234)),
        Outcome(
            Message(b"", Origin("t", 0, 0)),
            classification("b", 1, reason=NotClassified.SOLAR_SYSTEM, probabilities={}),
        ),
        Outcome(rejected.message, rejected),
    )
    rooms.enter(BatchResult(outcomes, account(outcomes), {"decode": 0.25}, ()))
    rooms.metrics.set("ictc_consumer_lag_alerts", 4321, partition="7")
    rooms.metrics.set("ictc_device_info", 1, device="cuda:1")
    words = words_of(rooms.text())
    for phrase in (
        "classified 1,234 not classified 1 solar_system 1 rejected 1 not_avro 1 read 1,236 in = out ✓",
        "4,321 alerts behind partition 7 4,321",
        "decode 250.0 ms",
        "on cuda:1",
        "reads night <1>",
    ):
        assert phrase in words


def test_foreign_text_is_only_text(rooms):
    """An object id that is HTML is shown as it is written, and no tag comes of it."""
    rooms.enter(batch(classification(HOSTILE, 1)))
    page = rooms.text()
    assert "<script" not in page
    assert "&lt;script&gt;alert(" in page
    assert 'alert("1")' in words_of(page)


def test_objects_are_linked_where_they_have_pages(rooms):
    """With pages of objects there is a search, and each object's name leads to its page, whatever it is called."""
    rooms.enter(batch(classification("ZTF1", 1)))
    rooms.enter(batch(classification('a"/b', 2)))
    assert "/object/" not in rooms.text()
    rooms.page = StatusPage([], rooms.metrics, rooms.health, rooms.ledger, rooms.recent, rooms.clock, has_objects=True)
    page = rooms.text()
    assert 'href="/object/ZTF1"' in page and 'href="/object/a%22/b"' in page and 'action="/objects"' in page
    words_of(page)


def test_card_is_on_the_page(rooms):
    """What the network is, how it was trained and what it reached."""
    provenance = {
        "recipe": {"name": "vigil", "stages": [{"epochs": 3}]},
        "data": {"survey": "ztf", "objects": 5000},
        "limits": ["never saw <a star flare>", "no i band"],
        "seed": 1,
        "commit": None,
        "validation_scores": {"macro_f1": 0.87654, "recall": {"AGN": 0.91}, "confusion": [[1, 2], [3, 4]]},
    }
    rooms.page.introduce([FakeCard(provenance=provenance, trained=False)], Schemas())
    words = words_of(rooms.text())
    for phrase in (
        "never trained",
        "recipe vigil data survey ztf · objects 5000 limits never saw <a star flare>, no i band seed 1",
        "commit not known",
        "validation scores macro f1 0.877 recall AGN 0.91",
    ):
        assert phrase in words
    assert "confusion" not in words


def test_stamps_and_history_are_drawn(rooms):
    """Each object has its three stamps and one line for each class."""
    rooms.page.introduce([FakeCard()], Schemas())
    rooms.enter(batch(classification("ZTF21aaaaaaa", 17), value=packets.ztf_packet(candid=17)))
    page = rooms.text()
    assert page.count('src="data:image/png;base64,') == 3
    assert page.count("<circle") == 2
    rooms.enter(batch(classification("elsewhere", 18)))
    page = rooms.text()
    assert page.count('src="data:image/png;base64,') == 3
    assert page.count("no stamp") == 3


def test_needs_nothing_from_elsewhere(rooms):
    """The page names no address but its own: it works without internet."""
    rooms.enter(batch(classification("a", 1)))
    addresses = re.findall(r'(?:src|href|url|action)\s*[=(]\s*["\']?([^"\'\s>)]+)', rooms.text())
    assert all(address.startswith(("/", "data:")) for address in addresses)


def test_drawn_once_for_all_who_ask_at_the_same_time(rooms):
    """Twenty browsers cost one drawing; the page is new again soon after."""
    drawings = []
    rooms.page._draw = lambda: drawings.append(1) or "page"
    threads = [threading.Thread(target=rooms.page.page) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(drawings) == 1
    rooms.clock.now_s += FRESH_S + 0.1
    rooms.page.page()
    assert len(drawings) == 2


def test_a_slow_drawing_is_kept_longer(rooms):
    """Drawing never takes more than a twentieth of the time."""

    def draw() -> str:
        rooms.clock.now_s += 1.0
        drawings.append(1)
        return "page"

    drawings: list[int] = []
    rooms.page._draw = draw
    rooms.page.page()
    rooms.clock.now_s += 19.0
    rooms.page.page()
    assert len(drawings) == 1
    rooms.clock.now_s += 1.1
    rooms.page.page()
    assert len(drawings) == 2


def test_trouble_is_said(rooms):
    """A failure that is retried, a pause and a stuck stream stand at the top."""
    rooms.health.ready("starting")
    rooms.metrics.set("ictc_paused", 1)
    assert "behind, reading paused" in words_of(rooms.text())
    rooms.health.in_trouble("the broker <is> away")
    assert "last failure: the broker <is> away" in words_of(rooms.text())
    rooms.health.waiting(5)
    rooms.clock.now_s += 100
    assert "stuck 5 alerts wait" in words_of(rooms.text())


def test_chart_spans_the_history():
    """The first observation is at the left, the last at the right, certainty at the top."""
    recent = Recent()
    recent.enter(batch(classification("a", 1, probabilities={"A": 0.0, "B": 1.0}), classification("a", 3)))
    (shown,) = recent.shown()
    view = object_view(shown, {"AGN": "#1", "SNIa": "#2"}, {})
    assert [share.name for share in view.shares] == ["AGN", "SNIa"]
    assert view.days == 2
    line = next(line for line in view.lines if line.name == "AGN")
    assert line.points[0] == (14, 78)
    assert line.points[1] == (294, pytest.approx(6 + 0.3 * 72))


def test_rate_is_of_ten_seconds():
    """Bins are means; the highest reaches the top, and no alert at all is a flat line."""
    path, top = rate_path([0] * 590 + [30] * 10)
    assert (path.split()[0], path.split()[-1], top) == ("0.0,44.0", "240.0,0.0", 30)
    assert rate_path([0] * 600)[1] == 0


def test_numbers_are_written_for_people():
    """Units that suit the size."""
    assert [number(x) for x in (0, 3.14159, 1234567)] == ["0", "3.1", "1,234,567"]
    assert [size(x) for x in (0, 1023, 1024, 5 * 2**40)] == ["0 B", "1023 B", "1.0 KiB", "5.0 TiB"]
    assert [duration(x) for x in (-3, 1.25, 45, 200, 7200, 1e6)] == ["0.0 s", "1.2 s", "45 s", "3 min", "2 h", "12 d"]
    assert [in_words(x) for x in (None, True, [1, 2], [[1]], "x" * 400)] == [
        "not known",
        "True",
        "1, 2",
        "1 entries",
        "x" * 300 + " …",
    ]


def test_every_shipped_kind_of_card_can_be_told():
    """A card without any provenance is told too."""
    assert dict(card_view(FakeCard()).facts)["reads"] == "science; 4 × 4 pixels; bands u, g, r, i, z, y"

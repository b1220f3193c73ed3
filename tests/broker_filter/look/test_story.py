"""Stories of objects: what a network saw and said, alert by alert, and the pictures of it."""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import orjson
import packets
import pytest
from matplotlib.image import imread

from broker_filter.alerts.packet_schema import Schemas
from broker_filter.archive import replay
from broker_filter.archive.look import main
from broker_filter.classify.classifier import StreamClassifier, load_classifiers
from broker_filter.errors import NotClassified
from broker_filter.look.contact_sheet import MOST_TILES, draw_contact_sheet
from broker_filter.look.gather import stories_of
from broker_filter.look.links import links_of
from broker_filter.look.sheet import draw_sheet, facts_of
from broker_filter.look.story import ObjectStory, last_words
from broker_filter.records import Message, Origin, Rejected
from model.past_photometry import NO_HISTORY
from model.pictures.colours import colours_of_classes
from model.pictures.theme import DARK
from model.simulation.alerts.night import write_night

pytestmark = pytest.mark.usefixtures("networks_once")


@pytest.fixture(scope="module")
def night() -> list[bytes]:
    """Alerts of four simulated objects."""
    return [packet for packet, truth in write_night("ztf", 4, 15, seed=5) if truth["label"] != "Asteroid"]


@pytest.fixture(scope="module")
def classifiers() -> dict[str, StreamClassifier]:
    """The shipped network."""
    return load_classifiers(["ztf"])


def stories_and_rejects(
    contents: Sequence[bytes], classifiers: dict[str, StreamClassifier], objects: Sequence[str] = ()
) -> tuple[dict[str, ObjectStory], list[Rejected]]:
    """The stories of packets."""
    messages = [Message(content, Origin("test", 0, number)) for number, content in enumerate(contents)]
    return stories_of(messages, classifiers, Schemas(), objects)


@pytest.fixture(scope="module")
def stories(night: list[bytes], classifiers: dict[str, StreamClassifier]) -> dict[str, ObjectStory]:
    """The stories of all of them, from packets in an order that is not that of time."""
    return stories_and_rejects(night[::-1], classifiers)[0]


@pytest.fixture(scope="module")
def longest(stories: dict[str, ObjectStory]) -> ObjectStory:
    """The object with most alerts."""
    return max(stories.values(), key=lambda story: len(story.answers))


@pytest.mark.slow
def test_answers_are_those_of_a_replay(night: list[bytes], stories: dict[str, ObjectStory], tmp_path: Path) -> None:
    """Each alert's probabilities are what ictc-replay writes of it."""
    for number, packet in enumerate(night):
        (tmp_path / f"{number}.avro").write_bytes(packet)
    output = tmp_path / "lines.jsonl"
    assert replay.main([str(tmp_path), "--output", str(output), "--summary", str(tmp_path / "summary.json")]) == 0
    lines = [orjson.loads(line) for line in output.read_bytes().splitlines()]
    by_alert = {(line["objectId"], line["alertId"]): line["probabilities"] for line in lines}
    answers = [answer for story in stories.values() for answer in story.answers]
    assert len(answers) == len(lines)
    for answer in answers:
        expected = by_alert[answer.object_id, answer.alert_id]
        assert answer.probabilities == pytest.approx(expected, abs=1e-5)


def test_frames_and_answers_are_in_order_of_time(longest: ObjectStory) -> None:
    """Whatever the order of the packets, a story goes forward, each classified alert with its stamps."""
    times = [answer.time_mjd for answer in longest.answers]
    assert times == sorted(times) and longest.days == times[-1] - times[0]
    assert longest.alert_ids == tuple(answer.alert_id for answer in longest.classified)
    assert longest.frames.time_T.tolist() == [answer.time_mjd for answer in longest.classified]
    assert longest.frames.pixels_TCHW.shape[1] == len(longest.channels) == 3


def test_only_wanted_objects_are_told(
    night: list[bytes], longest: ObjectStory, classifiers: dict[str, StreamClassifier]
) -> None:
    """Naming an object leaves out the others, and what is no alert."""
    by_id, rejected = stories_and_rejects([b"rubbish", *night], classifiers, [longest.object_id, "ZTF00none"])
    assert list(by_id) == [longest.object_id] and rejected == []
    assert len(by_id[longest.object_id].answers) == len(longest.answers)
    assert [one.reason for one in stories_and_rejects([b"rubbish"], classifiers)[1]] == ["not_avro"]


def test_decision_is_the_last_change_of_mind(longest: ObjectStory) -> None:
    """An object decided itself at the first alert since which the most probable class has been the same."""
    first = replace(longest.classified[0], reason=None)
    minds = [{"A": 0.9, "B": 0.1}, {"A": 0.2, "B": 0.8}, {"A": 0.9, "B": 0.1}, {"A": 0.6, "B": 0.4}]
    answers = tuple(
        replace(first, alert_id=n, time_mjd=first.time_mjd + n, probabilities=p) for n, p in enumerate(minds)
    )
    assert (since := replace(longest, answers=answers).decided) is not None and since.alert_id == 2
    unanswered = replace(first, probabilities={}, reason=NotClassified.NO_STAMPS)
    assert replace(longest, answers=(unanswered,)).decided is None


def test_last_word_is_that_of_the_answer_that_knew_most(longest: ObjectStory) -> None:
    """Of several answers to an alert the one that knew of most stamps stays, wherever it stands."""
    answer = longest.classified[0]
    early, late = replace(answer, known_count=1), replace(answer, known_count=2, revision=True)
    assert last_words([late, early]) == last_words([early, late]) == (late,)


def test_position_is_right_at_the_meridian(longest: ObjectStory) -> None:
    """Right ascensions on both sides of 0° have their median between them."""
    detection = longest.answers[0].detection
    assert detection is not None
    answers = tuple(
        replace(longest.answers[0], alert_id=n, detection=replace(detection, ra_deg=ra, dec_deg=5.0))
        for n, ra in enumerate((359.9999, 0.0001, 0.0))
    )
    place = replace(longest, answers=answers).position_deg
    assert place is not None and min(place[0], 360 - place[0]) < 1e-9 and place[1] == 5.0


@pytest.mark.slow
def test_sheet_shows_stamps_light_curve_and_what_is_known(longest: ObjectStory, tmp_path: Path) -> None:
    """A sheet has its panels, the name, the class and links, on light and dark ground."""
    figure = draw_sheet(longest)
    words = [text.get_text() for text in figure.texts]
    assert longest.object_id in words and "ALeRCE" in words
    assert any(str(longest.classified[-1].best) in text for text in words)
    assert " · ".join(facts_of(longest)).count("°") >= 2
    stamps = len(longest.channels) * min(len(longest.frames), 14)
    assert len(figure.axes) == 3 + 1 + stamps  # panels, magnitudes, stamps
    draw_sheet(longest, DARK).savefig(tmp_path / "dark.png")
    assert imread(tmp_path / "dark.png")[:5, :5, :3].max() < 0.2


def test_moment_of_decision_is_told_where_there_is_room(longest: ObjectStory) -> None:
    """The words stand right of the line early in a story and left of it late, where the legend is."""
    last = longest.answers[-1]
    other = next(name for name in last.probabilities if name != last.best)
    sure = {name: float(name == last.best) for name in last.probabilities}
    doubt = {name: float(name == other) for name in last.probabilities}
    for changed_at, side in ((1, "left"), (len(longest.answers) - 1, "right")):
        answers = tuple(
            replace(one, probabilities=doubt if number < changed_at else sure)
            for number, one in enumerate(longest.answers)
        )
        axes = draw_sheet(replace(longest, answers=answers, epochs=NO_HISTORY)).axes[0]
        (words,) = [text for text in axes.texts if "since day" in text.get_text()]
        assert words.get_horizontalalignment() == side


def test_svg_links_are_followable(longest: ObjectStory, tmp_path: Path) -> None:
    """An SVG keeps the addresses of the brokers' pages."""
    draw_sheet(longest).savefig(tmp_path / "sheet.svg")
    assert f"https://alerce.online/object/{longest.object_id}" in (tmp_path / "sheet.svg").read_text()


def test_an_object_without_stamps_has_a_sheet(classifiers: dict[str, StreamClassifier], tmp_path: Path) -> None:
    """An alert that was not classified is drawn as what it is: light curve, no stamps, no class."""
    without = packets.ztf_packet(stamps=dict.fromkeys(packets.ztf_stamps()))
    (story,) = stories_and_rejects([without], classifiers)[0].values()
    draw_sheet(story).savefig(tmp_path / "none.png")
    draw_contact_sheet([story, story]).savefig(tmp_path / "two.png")
    assert story.classified == () and story.decided is None


@pytest.mark.parametrize("count", [1, 5])
def test_contact_sheet_has_a_tile_for_each(longest: ObjectStory, count: int) -> None:
    """Every object has its tile with stamps, light curve and probabilities; no page is made for none or too many."""
    figure = draw_contact_sheet([longest] * count)
    assert len(figure.axes) == 5 * count
    with pytest.raises(ValueError, match="1 to 60 fit"):
        draw_contact_sheet([])
    with pytest.raises(ValueError, match="61 objects"):
        draw_contact_sheet([longest] * (MOST_TILES + 1))


@pytest.mark.parametrize("name", ["ZTF21abiuvdk", "313985345528004656", "L" * 60])
def test_a_long_id_leaves_room_for_the_class(longest: ObjectStory, name: str) -> None:
    """In a tile the object's id ends before the class begins, however long it is."""
    answers = tuple(replace(one, object_id=name) for one in longest.answers)
    figure = draw_contact_sheet([replace(longest, object_id=name, answers=answers)])
    title, verdict = figure.texts[:2]
    assert title.get_text() == name
    assert title.get_window_extent().x1 < verdict.get_window_extent().x0


@pytest.mark.parametrize("kind", ["Asteroid", "Bogus"])
def test_what_packets_tell_takes_no_colour_from_a_class(kind: str) -> None:
    """A class has the same colour in the picture of an object that is also told as a moving one, and one of its own."""
    alone = colours_of_classes(["AGN", "SNIa"])
    beside = colours_of_classes([kind, "AGN", "SNIa"])
    assert alone.items() <= beside.items() and beside[kind] not in alone.values()


def test_links_escape_what_came_from_outside() -> None:
    """An id with characters of its own cannot leave its place in an address; without a position there is no cone."""
    links = links_of("ztf", 'ZTF"><x', None)
    assert {link.name for link in links} == {"ALeRCE", "Fink", "Lasair", "TNS"}
    assert all(re.fullmatch(r"https://[\w./?=&%-]+", link.address) for link in links)
    named = {link.name: link.address for link in links_of("lsst", "1", (10.5, -3.25))}
    assert "ra=10.500000&decl=-3.250000" in named["TNS"] and "SIMBAD" in named


@pytest.fixture
def folder(night: list[bytes], tmp_path: Path) -> Path:
    """The night as files."""
    made = tmp_path / "night"
    made.mkdir()
    for number, packet in enumerate(night):
        (made / f"{number}.avro").write_bytes(packet)
    return made


HOSTILE_IDS = (
    "ZTF$x_{\\frac{1}{0}}$",
    "ZTF$\\input{/etc/passwd}$",
    "ZTF\a\x1b[2J\n\u202e",
    "ZTF[/]",
    "ZTF{/}",
    "ZTF" + "w" * 100,
)


@pytest.mark.slow
@pytest.mark.parametrize("ending", ["png", "svg"])
def test_names_that_are_formulas_or_files(tmp_path: Path, capfd: pytest.CaptureFixture[str], ending: str) -> None:
    """Ids of objects are drawn as text, whatever they are, and each object has a file of its own."""
    for number, name in enumerate(HOSTILE_IDS):
        (tmp_path / f"{number}.avro").write_bytes(packets.ztf_packet(object_id=name, candid=number + 1))
    common = [str(tmp_path), "--allow-untrained", "--out"]
    assert main([*common, str(tmp_path / f"sheet.{ending}")]) == 0
    assert main([*common, str(tmp_path / f"each.{ending}"), "--each"]) == 0
    assert len(list(tmp_path.glob("each-*"))) == len(HOSTILE_IDS)
    written = "".join(capfd.readouterr())
    assert "\a" not in written
    assert "\x1b" not in written


@pytest.mark.slow
def test_command_draws_a_sheet_a_contact_sheet_and_each(
    folder: Path, stories: dict[str, ObjectStory], longest: ObjectStory, capsys: pytest.CaptureFixture[str]
) -> None:
    """ictc-look draws one object, all on one page, or a file for each, and prints what it wrote."""
    out = folder / "sheet.png"
    assert main([str(folder), "--object", longest.object_id, "--out", str(out)]) == 0
    assert np.asarray(imread(out)).std() > 0.05 and capsys.readouterr().out == f"{out}\n"
    assert main([str(folder), "--out", str(folder / "all.png"), "--dark"]) == 0
    assert main([str(folder), "--out", str(folder / "each.svg"), "--each", "--limit", "2"]) == 0
    assert len(list(folder.glob("each-ZTF*.svg"))) == 2
    assert f"2 of {len(stories)} objects" in capsys.readouterr().err


def test_command_says_what_it_did_not_find(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An object that is not there, and a path that is not there, are named; the exit status says so."""
    assert main([str(folder), "--object", "ZTF00none", "--out", str(folder / "sheet.png")]) == 1
    assert "no alert of ZTF00none" in capsys.readouterr().err
    assert main([str(folder / "absent"), "--out", str(folder / "sheet.png")]) == 2
    assert "absent does not exist" in capsys.readouterr().err

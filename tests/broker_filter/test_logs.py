"""Lines for machines and for people."""

import io
import logging

import orjson
import pytest

from broker_filter.logs import facts, logger, set_up


@pytest.fixture(autouse=True)
def quiet_again():
    """Leave the loggers as they were."""
    root = logging.getLogger("ictc")
    before = (root.handlers[:], root.level, root.propagate)
    yield
    root.handlers[:], root.level, root.propagate = before


def lines_of(style: str, *calls) -> list[str]:
    stream = io.StringIO()
    set_up("info", style, stream)
    for text, values in calls:
        logger("room").warning(text, extra=facts(**values))
    return stream.getvalue().splitlines()


def test_json_has_one_object_a_line():
    """Facts are fields; what came from outside cannot break the line."""
    (line,) = lines_of("json", ("rejected", {"detail": 'a\n"b', "offset": 5, "by": {1: 2}}))
    fields = orjson.loads(line)
    assert (fields["event"], fields["detail"], fields["offset"]) == ("rejected", 'a\n"b', 5)
    assert (fields["level"], fields["room"]) == ("warning", "room")


def test_text_escapes_what_would_move_the_cursor():
    """A foreign byte neither starts a new line nor commands the terminal."""
    (line,) = lines_of("text", ("rejected", {"detail": "\x1b[2J\nfake line"}))
    assert "\x1b" not in line
    assert r"\x1b[2J\nfake line" in line


def test_a_file_is_no_terminal():
    """``auto`` writes JSON where no person looks."""
    (line,) = lines_of("auto", ("event", {}))
    assert line.startswith("{")


def test_details_are_left_out():
    """Lines below the level are not written."""
    stream = io.StringIO()
    set_up("warning", "json", stream)
    logger("room").info("detail")
    assert stream.getvalue() == ""

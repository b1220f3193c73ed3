"""Text from outside on a terminal and in a log: seen as it is written, never obeyed."""

import io
import json
import logging
import tarfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packets import ztf_packet

from broker_filter.archive.inspect import main as inspect
from broker_filter.archive.replay import main as replay
from broker_filter.logs import JsonFormatter, TextFormatter, facts
from broker_filter.terminal import complain, console, styled
from model.printable import printable, printable_json

pytestmark = pytest.mark.usefixtures("networks_once")
ESCAPE = "\x1b[2J\x1b]0;title\x07"
ODD = ["[/]", "[red]x", ":smile:", ESCAPE, "\x9b31m", "a\u202eb", "\x7f", "\r", "\0", "\udcff", "é", "\u2028"]


def visible(shown: str) -> bool:
    return all(c.isprintable() for line in shown.split("\n") for c in line)


@given(st.text())
def test_printable_text_can_be_seen(text: str) -> None:
    """Whatever comes, every character of what leaves can be seen, and what could be seen before stays."""
    shown = printable(text)
    assert visible(shown)
    if text.isprintable():
        assert shown == text


@given(st.recursive(st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)))
def test_printable_json_is_the_same_json(value: object) -> None:
    """Escapes change nothing of what a line of JSON says."""
    line = json.dumps(value, ensure_ascii=False)
    assert json.loads(printable_json(line)) == value
    assert visible(printable_json(line))


@pytest.mark.parametrize("text", ODD)
def test_a_console_takes_nothing_for_markup(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Markup, emoji codes and escape sequences are shown as they are written."""
    console().print(styled((text, "bold"), " end"))
    assert capsys.readouterr().out == f"{printable(text)} end\n"


def test_complaints_are_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """An error with the words of others is one line that can be seen."""
    complain("ictc-inspect", f"no file\n{ESCAPE}")
    shown = capsys.readouterr().err
    assert shown.count("\n") == 1
    assert "\x1b" not in shown


@pytest.mark.parametrize("text", ODD)
@pytest.mark.parametrize("formatter", [TextFormatter(), JsonFormatter()])
def test_logs_escape_what_others_wrote(text: str, formatter: logging.Formatter) -> None:
    """Messages, facts, their names and tracebacks in both forms have nothing that a terminal obeys."""
    try:
        raise ValueError(text)
    except ValueError as error:
        caught = (type(error), error, error.__traceback__)
    record = logging.LogRecord("ictc.x", logging.ERROR, "f", 1, text, None, caught)
    record.__dict__.update(facts(detail=text, nested={text: [text]}))
    line = formatter.format(record)
    assert visible(line)
    if isinstance(formatter, JsonFormatter) and "\udcff" not in text:
        assert json.loads(line)["detail"] == text


@pytest.mark.parametrize("name", ["[/]x", f"[red]{ESCAPE}", "\u202eX", ":bomb:"])
def test_object_ids_are_shown_as_they_are(
    tmp_path: Path, name: str, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    """An object id with markup or escape sequences neither ends the command nor reaches the terminal."""
    path = tmp_path / "one.avro"
    path.write_bytes(ztf_packet(object_id=f"ZTF{name}"))
    assert inspect([str(path)]) == 0
    shown = capsysbinary.readouterr().out.decode()
    assert printable(f"ZTF{name}") in shown
    assert visible(shown)
    assert inspect([str(path), "--json"]) == 0
    line = capsysbinary.readouterr().out.decode()
    assert visible(line)
    assert json.loads(line)["objectId"] == f"ZTF{name}"


def test_names_of_members_are_shown_as_they_are(tmp_path: Path, capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    """What a member of an archive is called is seen, in lines, in rejections and in what was left out."""
    out = io.BytesIO()
    names = ["y[red].avro", f"{ESCAPE}.avro", "\udcff.avro", f"z{ESCAPE}.txt"]
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name in names:
            content = ztf_packet() if name.startswith("y") else b"text"
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    path = tmp_path / "night.tar"
    path.write_bytes(out.getvalue())
    assert inspect([str(path)]) == 1
    shown, complaints = (stream.decode() for stream in capsysbinary.readouterr())
    assert "y[red].avro" in shown
    assert printable(f"{ESCAPE}.avro") in shown
    assert printable(f"z{ESCAPE}.txt") in complaints
    assert visible(shown) and visible(complaints)
    assert replay([str(path), "--allow-untrained", "--output", str(tmp_path / "out")]) == 0
    shown, complaints = (stream.decode() for stream in capsysbinary.readouterr())
    assert visible(shown) and visible(complaints)

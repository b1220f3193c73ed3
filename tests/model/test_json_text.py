"""JSON text of others: plain values, or an error that says what is wrong with it."""

import pytest

from model.json_text import DEEPEST, parse_json


def nested(deep: int) -> str:
    """So many tables and lists in each other, by turns."""
    return '{"a": [' * (deep // 2) + "]}" * (deep // 2)


def test_values_come_as_they_are() -> None:
    """Tables, lists, numbers, text and what is deep but not too deep are what JSON says."""
    assert parse_json(b'{"a": [1, 2.5, "x", null, {"b": true}]}') == {"a": [1, 2.5, "x", None, {"b": True}]}
    assert parse_json("7") == 7
    assert parse_json(nested(DEEPEST))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"{", "Expecting"),
        (b"\xff", "decode"),
        ('{"a": 1, "b": {"c": 1, "c": 1}}', "the key 'c' stands there twice"),
        ("9" * 5_000, "Exceeds the limit"),
        (nested(DEEPEST + 2), "nested more than 100 deep"),
        ("[" * 100_000, "nested more than 100 deep"),
        ('{"a":' * 100_000, "nested more than 100 deep"),
    ],
    ids=["broken", "no text", "twice", "long number", "deep", "deeper", "deep tables"],
)
def test_what_cannot_be_followed_is_refused(text: str | bytes, words: str) -> None:
    """One kind of error for all that JSON should not be, also for what Python's own reader ends at."""
    with pytest.raises(ValueError, match=words):
        parse_json(text)

"""Text that others wrote as text of which every character can be seen, for terminals and logs.

Escape sequences, control characters, marks that turn the direction of writing and bytes that are no text are escaped.
"""

import re

_BEYOND_ASCII_OR_DELETE = re.compile(r"[^\x00-\x7e]")
_LARGEST_OF_PLANE = 0xFFFF


def printable(text: str) -> str:
    """Text of which every character can be seen; what cannot is written as Python writes it, for instance ``\\x1b``."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def short(text: str, most: int = 60) -> str:
    """``printable`` text of at most so many characters, for pictures: one that is longer ends in three dots."""
    text = printable(text)
    return text if len(text) <= most else f"{text[: most - 1]}…"


def shown(value: object) -> object:
    """A value of a template: text as ``printable`` writes it; numbers, and what is markup already, as they are."""
    return printable(value) if type(value) is str else value


def printable_json(line: str) -> str:
    """The same JSON, with characters that cannot be seen as JSON's own escapes.

    JSON escapes control characters below 32 by itself, but neither DEL, nor the other set of control characters, nor
    marks that turn the direction of writing.
    """
    if line.isascii() and "\x7f" not in line:
        return line
    return _BEYOND_ASCII_OR_DELETE.sub(_json_escape, line)


def _json_escape(match: re.Match[str]) -> str:
    character = match[0]
    if character.isprintable():
        return character
    code = ord(character)
    if code <= _LARGEST_OF_PLANE:
        return f"\\u{code:04x}"
    code -= _LARGEST_OF_PLANE + 1
    return f"\\u{0xD800 + (code >> 10):04x}\\u{0xDC00 + (code & 0x3FF):04x}"

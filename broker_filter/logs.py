"""Log records in, lines out: JSON for machines, plain text for a person at a terminal. Knows nothing of what is logged.

Facts travel in ``extra={"facts": {...}}`` and stand as fields of their own in the JSON line.
"""

import logging
import sys
import time
from collections.abc import Mapping
from typing import Any, TextIO

import orjson

ROOT = "ictc"


def logger(room: str) -> logging.Logger:
    """The logger of one room."""
    return logging.getLogger(f"{ROOT}.{room}")


def facts(**values: Any) -> dict[str, Mapping[str, Any]]:
    """What to hand to ``extra``: the facts of one line."""
    return {"facts": values}


class JsonFormatter(logging.Formatter):
    """One JSON object a line; a message from outside cannot break out of it."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "room": record.name.removeprefix(f"{ROOT}."),
            "event": record.getMessage(),
        }
        line.update(getattr(record, "facts", {}))
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return orjson.dumps(line, default=str, option=orjson.OPT_NON_STR_KEYS).decode()


class TextFormatter(logging.Formatter):
    """A line for a person; control characters of foreign data are escaped."""

    def format(self, record: logging.LogRecord) -> str:
        told = " ".join(f"{name}={_short(value)}" for name, value in getattr(record, "facts", {}).items())
        clock = time.strftime("%H:%M:%S", time.localtime(record.created))
        line = f"{clock} {record.levelname.lower():7} {_printable(record.getMessage())}{'  ' if told else ''}{told}"
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


def set_up(level: str, style: str, stream: TextIO | None = None) -> None:
    """Send our lines, and no library's, to standard error. ``style``: auto, json or text."""
    stream = sys.stderr if stream is None else stream
    text = style == "text" or (style == "auto" and stream.isatty())
    handler = logging.StreamHandler(stream)
    handler.setFormatter(TextFormatter() if text else JsonFormatter())
    root = logging.getLogger(ROOT)
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    root.propagate = False


def _short(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{k}: {_short(v)}" for k, v in value.items()) + "}"
    return _printable(str(value))


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)

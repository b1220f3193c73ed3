"""Lines of a log: JSON for machines, plain text for a person at a terminal. Knows nothing of what is logged.

Facts travel in ``extra={"facts": {...}}`` and stand as fields of their own in the JSON line.
"""

import logging
import sys
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, TextIO

import orjson

from broker_filter.secret import conceal
from model.printable import printable, printable_json

ROOT = "ictc"


def logger(room: str) -> logging.Logger:
    """The logger of one room."""
    return logging.getLogger(f"{ROOT}.{room}")


def facts(**values: Any) -> dict[str, Mapping[str, Any]]:
    """What to hand to ``extra``: the facts of one line."""
    return {"facts": values}


class Repeats:
    """Warnings that would come again and again: said when new, then once a period with the count of those held back.

    Parameters
    ----------
    log
        Where they go.
    period_s
        Between two lines of the same text, seconds.
    clock
        Seconds that never go back.
    """

    def __init__(
        self, log: logging.Logger, period_s: float = 60.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._log, self._period_s, self._clock = log, period_s, clock
        self._lock = threading.Lock()  # librdkafka's callbacks come in whichever thread polls
        self._begun_s: dict[str, float] = {}
        self._said_s: dict[str, float] = {}
        self._held_back: dict[str, int] = {}

    def warn(self, text: str, level: int = logging.WARNING, **details: Any) -> None:
        """Say it, unless the same text was said within the period."""
        with self._lock:
            now_s = self._clock()
            begun_s = self._begun_s.setdefault(text, now_s)
            if text in self._said_s and now_s - self._said_s[text] < self._period_s:
                self._held_back[text] = self._held_back.get(text, 0) + 1
                return
            self._said_s[text] = now_s
            held_back = self._held_back.pop(text, 0)
        if held_back:
            details |= {"held_back": held_back, "lasts_s": round(now_s - begun_s, 1)}
        self._log.log(level, text, extra=facts(**details))

    def over(self, text: str) -> None:
        """Say once that whatever was warned of is over; nothing where nothing was."""
        with self._lock:
            if not self._begun_s:
                return
            lasted_s = round(self._clock() - min(self._begun_s.values()), 1)
            held_back = sum(self._held_back.values())
            for table in (self._begun_s, self._said_s, self._held_back):
                table.clear()
        self._log.info(text, extra=facts(lasted_s=lasted_s, held_back=held_back))


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
        return conceal(printable_json(orjson.dumps(_sound(line), default=str, option=orjson.OPT_NON_STR_KEYS).decode()))


class TextFormatter(logging.Formatter):
    """A line for a person; what cannot be seen of foreign data is escaped, in tracebacks too."""

    def format(self, record: logging.LogRecord) -> str:
        values = getattr(record, "facts", {})
        named = " ".join(f"{printable(name)}={_short(value)}" for name, value in values.items())
        clock = time.strftime("%H:%M:%S", time.localtime(record.created))
        line = f"{clock} {record.levelname.lower():7} {printable(record.getMessage())}{'  ' if named else ''}{named}"
        if not record.exc_info:
            return conceal(line)
        return conceal("\n".join([line, *map(printable, self.formatException(record.exc_info).split("\n"))]))


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
        return "{" + ", ".join(f"{printable(str(k))}: {_short(v)}" for k, v in value.items()) + "}"
    return printable(str(value))


def _sound(value: Any) -> Any:
    """A value of which every text is text: half of a surrogate pair, for instance of a file's name, is escaped."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, Mapping):
        return {_sound(k): _sound(v) for k, v in value.items()}
    return [_sound(v) for v in value] if isinstance(value, (list, tuple)) else value

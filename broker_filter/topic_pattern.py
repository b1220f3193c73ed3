"""Patterns of topics as Kafka's client reads them: POSIX extended expressions of the C library, which librdkafka calls.

Python's ``re`` reads some of them otherwise: what it would read and the client would not, is refused by name.
"""

import ctypes
import re
from functools import lru_cache

EXTENDED = 1  # REG_EXTENDED, the same in every C library
_COMPILED_BYTES = 1024  # of a regex_t, which has 64 on Linux and 32 on macOS
_MESSAGE_BYTES = 200
# A C library compiles what a pattern says without a bound: four nested repeats take all memory, deep groups the stack.
LONGEST_PATTERN = 1_000  # characters; a topic's name has 249 at most
DEEPEST_GROUPS = 10
MOST_REPEATS = 1_000  # of one within the other, multiplied
MOST_ENDLESS = 10  # * + {n,} of groups
_GLIBC_ESCAPES = set("wWsSbB<>`'")  # with a backslash, beyond punctuation


@lru_cache(maxsize=1)
def _library() -> ctypes.CDLL | None:
    library = ctypes.CDLL(None)
    return library if hasattr(library, "regcomp") else None


class TopicPattern:
    """A pattern of topics.

    Raises
    ------
    ValueError
        Naming what Kafka's client does not read in it.
    """

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern
        if (excess := _excess(pattern)) is not None:
            raise ValueError(f"{pattern[:60]!r}: {excess}")
        if (foreign := _foreign(pattern)) is not None:
            raise ValueError(f"{pattern!r}: Kafka's client does not read {foreign}")
        self._library = _library()
        if self._library is None:  # no such library here: Python's engine reads what is left alike
            self._python = _python(pattern)
            return
        self._compiled = ctypes.create_string_buffer(_COMPILED_BYTES)
        if (code := self._library.regcomp(self._compiled, pattern.encode(), EXTENDED)) != 0:
            message = ctypes.create_string_buffer(_MESSAGE_BYTES)
            self._library.regerror(code, self._compiled, message, ctypes.c_size_t(_MESSAGE_BYTES))
            raise ValueError(f"{pattern!r} is not a regular expression: {message.value.decode(errors='replace')}")

    def matches(self, topic: str) -> bool:
        """True for a topic that Kafka's client would read."""
        if self._library is None:
            return self._python.search(topic) is not None
        return self._library.regexec(self._compiled, topic.encode(), ctypes.c_size_t(0), None, 0) == 0

    def __del__(self) -> None:
        if getattr(self, "_library", None) is not None and hasattr(self, "_compiled"):
            self._library.regfree(self._compiled)  # type: ignore[union-attr]


def _python(pattern: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern)
    except re.error as error:
        raise ValueError(f"{pattern!r} is not a regular expression: {error}") from error


def _excess(pattern: str) -> str | None:
    """What of a pattern could take the C library's memory, stack or time, by rule; it is not compiled to find out."""
    if len(pattern) > LONGEST_PATTERN:
        return f"{len(pattern)} characters, at most {LONGEST_PATTERN}"
    if "\0" in pattern:
        return "a zero byte, at which the C library stops reading"
    plain = re.sub(r"\\.|\[\^?\]?[^]]*\]", "a", pattern)  # escapes and brackets, which hold no groups
    depth = deepest = 0
    for sign in plain:
        depth += (sign == "(") - (sign == ")")
        deepest = max(deepest, depth)
    if deepest > DEEPEST_GROUPS:
        return f"groups nest {deepest} deep, at most {DEEPEST_GROUPS}"
    if (endless := len(re.findall(r"\)(?:[*+]|\{\d*,\})", plain))) > MOST_ENDLESS:
        return f"{endless} groups repeat without end, at most {MOST_ENDLESS}"
    of_signs, repeats = 1, 1
    for group, most in re.findall(r"(\)?)\{[\d,]*?(\d{1,9}),?\}", plain):
        if group:
            repeats *= max(int(most), 1)  # as if each group lay within the other
        else:
            of_signs = max(of_signs, int(most))
    if repeats * of_signs > MOST_REPEATS:
        return f"counted repeats multiply to more than {MOST_REPEATS}"
    return None


def _foreign(pattern: str) -> str | None:
    """The first part of a pattern that the C library reads otherwise than its writer means."""
    at, in_brackets = 0, False
    while at < len(pattern):
        part = pattern[at : at + 2]
        if in_brackets:
            if pattern[at] == "\\":
                return f"{part} within brackets, where a backslash stands for itself"
            if part in ("[:", "[.", "[="):
                at = pattern.find(f"{part[1]}]", at + 2)
                if at < 0:
                    return f"{part} without its end"
                at += 1
            elif pattern[at] == "]":
                in_brackets = False
        elif pattern[at] == "\\":
            if part[1:].isalnum() and part[1:] not in _GLIBC_ESCAPES:
                return f"{part} (write [0-9] for \\d, $ for \\Z)"
            at += 1
        elif pattern[at] == "[":
            in_brackets = True
            at += pattern[at + 1 : at + 2] == "^"
            at += pattern[at + 1 : at + 2] == "]"
        elif part == "(?":
            return f"{pattern[at : at + 3]} (write a plain group)"
        elif pattern[at] in "*+?}" and part[1:] in ("?", "+", "*"):
            return f"{part}: of repeats only the longest are read"
        at += 1
    return None


@lru_cache(maxsize=256)
def compile_pattern(pattern: str) -> TopicPattern:
    """The pattern, compiled once; raises as :class:`TopicPattern`."""
    return TopicPattern(pattern)

"""Answers of other people's web servers, read within bounds. Knows nobody's interface."""

import ssl
from functools import cache

import httpx2 as httpx

IDENTITY = "identity"
UNENCODED = {"Accept-Encoding": IDENTITY}  # to ask for: a kilobyte of another encoding may be a gigabyte


@cache
def certificates() -> ssl.SSLContext:
    """The authorities that vouch for servers: read once, which takes longer than many an answer."""
    return httpx.create_ssl_context()


class UnacceptableAnswerError(Exception):
    """An answer that is encoded although nobody asked for that, or too long."""


def content_of(answer: httpx.Response, most_bytes: int) -> bytes:
    """The content of a streamed answer, as its bytes come.

    Raises
    ------
    UnacceptableAnswerError
        When it is encoded, or longer than ``most_bytes``.
    """
    encoding = answer.headers.get("content-encoding", "")
    if not {coding.strip().lower() for coding in encoding.split(",")} <= {IDENTITY, ""}:
        raise UnacceptableAnswerError(f"an answer encoded as {ascii(encoding)[:80]}, unasked")
    content = bytearray()
    for some in answer.iter_raw():
        content += some
        if len(content) > most_bytes:
            raise UnacceptableAnswerError(f"an answer of over {most_bytes} bytes")
    return bytes(content)


def wait_of(answer_headers: httpx.Headers, longest_s: float) -> float | None:
    """Seconds that a ``Retry-After`` asks for, at most ``longest_s``; None where it tells no number of them."""
    wait = answer_headers.get("retry-after", "")
    return min(float(wait[:9]), longest_s) if wait.isascii() and wait.isdigit() else None

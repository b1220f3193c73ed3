"""Secrets, masked wherever they are printed: by names, in addresses, and every one that was set.

Errors of libraries quote what they were given. Whatever reaches a log, a terminal or a page goes through ``conceal``,
which knows the secrets of the settings by their values.
"""

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

MASK = "**********"
SHORTEST = 4  # a shorter secret would blot out half of every sentence
LONGEST_SHOWN = 80  # characters of a value or a name in an error
_SECRET_NAME = re.compile(
    r"passw|passphrase|\bpwd\b|[._-]pwd|secret|token|credential|api_?key|access_?key|private|oauthbearer\.config|"
    r"user\.?info|authoriz|signature|\.pem$|jaas|kinit",
    re.IGNORECASE,
)
_USER_IN_ADDRESS = re.compile(r"(?<=://)[^\s,]*@|(?<![\w/.@:-])[^\s@,/:\"'=(]+:[^\s@,/]+@")
_QUERY_VALUE = re.compile(r"(?<=[?&])([^=&\s#]+)=[^&\s#]*")
_NO_NAME = re.compile(r"[^\w.<\[\]-].*", re.DOTALL)  # but << of YAML and [key] of pydantic
_known: frozenset[str] = frozenset()


def is_secret_name(name: str) -> bool:
    """True for a name that speaks of a secret."""
    return _SECRET_NAME.search(name) is not None


def masked_address(text: str) -> str:
    """A text without the users and passwords, and without the query values, of the addresses in it."""
    text = _USER_IN_ADDRESS.sub(f"{MASK}@", text)
    return _QUERY_VALUE.sub(lambda match: f"{match[1]}={MASK}", text) if "://" in text else text


def mask(name: str, value: Any) -> Any:
    """The value, or a mask where its name (or a name in it) speaks of a secret; addresses without users and queries."""
    if isinstance(value, Mapping):
        return {inner: mask(inner, one) for inner, one in value.items()}
    if value is not None and is_secret_name(name):
        return MASK
    if isinstance(value, str):
        return masked_address(value)
    return [mask(name, one) for one in value] if isinstance(value, list | tuple) else value


def shown(value: object) -> str:
    """A value as an error shows it: cut where it is long, a mask where a secret may stand in it."""
    text = str(value)
    if is_secret_name(text) or "@" in text or masked_address(text) != text:
        return MASK
    return repr(value) if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]!r}…"


def shown_name(name: object) -> str:
    """A name that somebody wrote, as far as it can be one: what follows, as in ``password=...``, may be a secret."""
    text = str(name)
    start = _NO_NAME.sub("", text)[:LONGEST_SHOWN]
    return text if text and start == text else f"{start}…"


def secrets_in_address(text: str, whole: bool = True) -> list[str]:
    """Passwords and query values of the addresses in a text; ``whole``: without an address, the text itself."""
    parts = [match[0].rpartition("@")[0] for match in _USER_IN_ADDRESS.finditer(text)]
    parts = [part.partition(":")[2] or part for part in parts if part]
    if "://" in text:
        return parts + [match[0].partition("=")[2] for match in _QUERY_VALUE.finditer(text)]
    return parts + ([text] if whole else [])


def _unquoted(text: str) -> str:
    """A text of an address with its percent signs read."""
    plain = re.sub(rb"%([0-9A-Fa-f]{2})", lambda match: bytes([int(match[1], 16)]), text.encode())
    return plain.decode("utf-8", "replace")


def remember(secrets: Iterable[str]) -> None:
    """Replace the secrets that ``conceal`` knows."""
    global _known  # noqa: PLW0603 - one process has one set of settings
    _known = frozenset(
        form
        for secret in secrets
        for form in (secret, _unquoted(secret), json.dumps(secret)[1:-1])
        if len(form) >= SHORTEST
    )


def conceal(text: str) -> str:
    """A text without the secrets of the settings."""
    for secret in sorted(_known, key=len, reverse=True):
        text = text.replace(secret, MASK)
    return text

"""The door from text that others wrote to a terminal: object ids, names of files, words of errors.

Everything that a command prints for people passes here, once: what cannot be seen is escaped (``model.printable``), and
nothing is taken for markup.
"""

import sys

from rich.console import Console
from rich.text import Text

from broker_filter.secret import conceal
from model.printable import printable


def styled(*parts: str | tuple[str, str]) -> Text:
    """Text for rich out of plain parts and (part, style) pairs; no part is taken for markup."""
    text = Text()
    for part in parts:
        words, style = (part, "") if isinstance(part, str) else part
        text.append("\n".join(map(printable, words.split("\n"))), style)
    return text


def console(error: bool = False) -> Console:
    """A console that takes nothing for markup."""
    return Console(soft_wrap=True, markup=False, emoji=False, highlight=False, stderr=error)


def complain(command: str, what: object) -> None:
    """Print one line about a command on standard error."""
    print(f"{command}: {conceal(printable(' '.join(str(what).split())))}", file=sys.stderr)

"""The door from text that others wrote to a terminal: object ids, names of files, words of errors.

Everything that a command prints for people passes here, once: what cannot be seen is escaped (``model.printable``), and
nothing is taken for markup.
"""

from functools import partial

from rich.console import Console
from rich.text import Text

from broker_filter import secret
from model import commands
from model.printable import printable

command = partial(commands.command, hide=secret.conceal)  # decorates the ``main`` of a command


def styled(*parts: str | tuple[str, str]) -> Text:
    """Text for rich out of plain parts and (part, style) pairs; no part is taken for markup."""
    text = Text()
    for part in parts:
        words, style = (part, "") if isinstance(part, str) else part
        text.append("\n".join(map(printable, words.split("\n"))), style)
    return text


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Say that the reader left, as any other writing does; rich would end the process."""
        raise  # noqa: PLE0704 - rich calls this where it was caught


def console(error: bool = False) -> Console:
    """A console that takes nothing for markup."""
    return _Console(soft_wrap=True, markup=False, emoji=False, highlight=False, stderr=error)


def complain(command: str, what: object) -> None:
    """Print one line about a command on standard error, without secrets."""
    commands.say(command, secret.conceal(str(what)))

"""The program ``ictc`` and its commands, each of which is also a program of its own (``ictc broker``, ``ictc-broker``).

Options are parsed before what computes is imported: help, completion and misuse do not wait for torch.
"""

import argparse
import errno
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from model.commands import FAILED, INTERRUPTED, add_common_options, drop_output, is_quiet
from model.commands import command as guarded

__all__ = ["COMMANDS", "add_common_options", "guarded", "main", "run_program"]

NO_ROOM = (errno.ENOSPC, errno.EFBIG, errno.EDQUOT)
SHELLS = ("bash", "zsh")  # shtab completes a command's own options in these


@dataclass(frozen=True, slots=True)
class Command:
    """One command: where its parser and its ``main`` are, as ``module:function``."""

    name: str
    help: str
    parser: str
    main: str
    shows_progress: bool = True  # by itself; a spinner is shown for the others

    @property
    def program(self) -> str:
        """The name that the command has as a program of its own."""
        return f"ictc-{self.name}"

    def open_parser(self) -> argparse.ArgumentParser:
        """The command's parser."""
        parser: argparse.ArgumentParser = _function(self.parser)()
        return parser

    def run(self, arguments: Sequence[str]) -> int:
        """Parse, then import what computes and run it; the exit status."""
        return _told(self.program, lambda: self._run(arguments))

    def _run(self, arguments: Sequence[str]) -> int:
        self.open_parser().parse_args(arguments)
        with _spinner(self.program, shown=not self.shows_progress):
            return int(_function(self.main)(arguments))


COMMANDS = {
    command.name: command
    for command in (
        Command(
            "broker",
            "classify a Kafka stream of alerts",
            "broker_filter.config:broker_parser",
            "broker_filter.service.main:main",
        ),
        Command(
            "replay",
            "classify the alerts of an archive, or publish it to Kafka",
            "broker_filter.archive.archive_options:parser",
            "broker_filter.archive.replay:main",
        ),
        Command(
            "inspect",
            "show what is in alerts",
            "broker_filter.archive.archive_options:inspect_parser",
            "broker_filter.archive.inspect:main",
        ),
        Command(
            "store",
            "look after the stored series: info, verify, backup, restore, migrate, forget",
            "broker_filter.service.store_options:parser",
            "broker_filter.service.store_command:main",
        ),
        Command(
            "look",
            "draw what is known of objects",
            "broker_filter.archive.archive_options:look_parser",
            "broker_filter.archive.look:main",
            shows_progress=False,
        ),
        Command(
            "simulate",
            "make labelled data sets and alert streams",
            "model.simulation.cli:parser_of_simulate",
            "model.simulation.cli:main",
        ),
        Command(
            "fetch-sdss",
            "download stamps of Stripe 82 as a data set",
            "model.simulation.sdss.fetch_options:parser_of_fetch",
            "model.simulation.sdss.fetch:main",
        ),
        Command(
            "train", "train a network", "model.training.training_options:train_parser", "model.training.train:main"
        ),
        Command(
            "calibrate",
            "calibrate trained weights on other objects",
            "model.training.training_options:calibrate_parser",
            "model.training.evaluation.recalibrate:main",
            shows_progress=False,
        ),
        Command(
            "evaluate",
            "score weights on a data set",
            "model.training.training_options:evaluate_parser",
            "model.training.evaluation.evaluate:main",
            shows_progress=False,
        ),
        Command(
            "compare",
            "train and score several systems",
            "model.training.training_options:compare_parser",
            "model.training.comparison.compare:main",
        ),
        Command(
            "export",
            "write weights as an ONNX file",
            "model.serving.export_options:export_parser",
            "model.serving.export:main",
            shows_progress=False,
        ),
        Command("lasair", "annotate objects in Lasair", "ictc.adapters.lasair:parser", "ictc.adapters.lasair:main"),
        Command("hop", "publish on SCiMMA's Hopskotch", "ictc.adapters.hop:parser", "ictc.adapters.hop:main"),
    )
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run ``ictc COMMAND ...``; the exit status is the command's, 2 for misuse."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words and words[0] in COMMANDS:
        return COMMANDS[words[0]].run(words[1:])
    return _told("ictc", lambda: _complete(words))


def _complete(words: Sequence[str]) -> int:
    """What ``ictc`` does itself: its help, and completion."""
    options = _short_parser().parse_args(words)
    import shtab  # noqa: PLC0415 - only completion needs it

    whole = COMMANDS[options.of].open_parser() if options.of else _whole_parser()
    print(shtab.complete(whole, options.shell))
    return 0


def run_program() -> int:
    """Run the command whose program was started (``ictc-broker``, ``ictc-replay``, ...)."""
    name = sys.argv[0].replace("\\", "/").rpartition("/")[2].removesuffix(".exe").removeprefix("ictc-")
    return COMMANDS[name].run(sys.argv[1:])


def _short_parser() -> argparse.ArgumentParser:
    """The parser of ``ictc`` itself, which lists the commands and leaves their options to them."""
    parser = argparse.ArgumentParser("ictc", description="Classify series of image stamps in astronomical alerts.")
    add_common_options(parser)
    commands = parser.add_subparsers(required=True, metavar="COMMAND", dest="command")
    for command in COMMANDS.values():
        commands.add_parser(command.name, help=command.help, add_help=False)
    completion = commands.add_parser("completion", help="print a script that completes commands in a shell")
    completion.add_argument("shell", choices=SHELLS)
    completion.add_argument("of", nargs="?", choices=tuple(COMMANDS), help="of ictc-... instead of ictc")
    return parser


def _whole_parser() -> argparse.ArgumentParser:
    """The parser of ``ictc`` with every option of every command, for completion."""
    parser = argparse.ArgumentParser("ictc")
    add_common_options(parser)
    commands = parser.add_subparsers()
    for command in COMMANDS.values():
        commands.add_parser(command.name, help=command.help, parents=[command.open_parser()], add_help=False)
    commands.add_parser("completion", help="print a script that completes commands in a shell").add_argument(
        "shell", choices=SHELLS
    )
    return parser


def _told(program: str, work: Callable[[], int]) -> int:
    """The status of what a program does: ctrl-C, a full disk and a reader that left are at most one line."""
    try:
        try:
            return work()
        finally:
            if sys.stdout is not None:
                sys.stdout.flush()  # also of a help
    except KeyboardInterrupt:
        print(f"{program}: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        drop_output()
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        print(f"{program}: {error.strerror}", file=sys.stderr)
        drop_output()
    return FAILED


@contextmanager
def _spinner(what: str, *, shown: bool) -> Iterator[None]:
    """A line on a terminal's standard error with the time that has passed."""
    if not shown or is_quiet() or not sys.stderr.isatty():
        yield
        return
    from rich.console import Console  # noqa: PLC0415 - only where it is seen
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn  # noqa: PLC0415

    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    to_terminal = sys.stdout.isatty()  # output that goes elsewhere is not ours to redirect
    with Progress(*columns, console=Console(stderr=True), transient=True, redirect_stdout=to_terminal) as bar:
        bar.add_task(what, total=None)
        yield


def _function(place: str) -> Callable[..., Any]:
    """The function that ``module:function`` names."""
    module, _, name = place.partition(":")
    function: Callable[..., Any] = getattr(import_module(module), name)
    return function


if __name__ == "__main__":
    sys.exit(main())

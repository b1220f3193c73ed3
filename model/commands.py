"""Common ends and options of commands: wrong input, full disks, ctrl-C and the like become a line and a status.

It knows commands by their names only and imports nothing heavy, so that a ctrl-C while the modules of a command are
still being imported is told like any other. Programming errors keep their tracebacks.
"""

import argparse
import functools
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib import metadata
from pathlib import Path
from types import FrameType

from model.printable import printable

QUIET_VARIABLE = "ICTC_QUIET"
# Exit statuses of every command. FAILED also where nothing at all could be read or classified; MISUSE also for a path
# that does not exist; the last is what shells give a command that ctrl-C ended.
DONE, FAILED, MISUSE, INTERRUPTED = 0, 1, 2, 130
PICTURE_SUFFIXES = (".png", ".pdf", ".svg", ".jpg", ".jpeg", ".webp")

# A path that was given and is not there, or not what it should be; any other failure of the disk is no misuse.
WRONG_PATHS = (FileNotFoundError, FileExistsError, NotADirectoryError, IsADirectoryError, PermissionError)

Main = Callable[..., int]  # of the command's arguments, which are those of the process where there are none


def command(
    name: str,
    *wrong: type[Exception],
    failed: tuple[type[Exception], ...] = (),
    interrupted: str = "interrupted",
    unread: int = FAILED,
    hide: Callable[[str], str] = str,
) -> Callable[[Main], Main]:
    """Decorate the ``main`` of a command.

    Parameters
    ----------
    name
        Begins every line on stderr.
    wrong
        The exceptions whose message tells a user what to change; ``OSError`` is always among them.
    failed
        The exceptions whose message tells what went wrong although nothing was asked wrongly.
    interrupted
        What is said after ctrl-C, for instance how to go on.
    unread
        Status where the reader of our output left before its end, of which nothing is said.
    hide
        Takes out of a line what nobody may see.
    """

    def guard(main: Main) -> Main:
        @functools.wraps(main)
        def guarded(argv: Sequence[str] | None = None) -> int:
            try:
                status = main(argv)
                if sys.stdout is not None:
                    sys.stdout.flush()  # a full disk may show only now
                return status
            except KeyboardInterrupt:
                say(name, interrupted)
                return INTERRUPTED
            except wrong as error:
                say(name, hide(str(error)))
                return MISUSE
            except failed as error:
                say(name, hide(str(error)))
            except BrokenPipeError:
                drop_output()
                return unread
            except OSError as error:
                say(name, hide(f"{error.filename}: {error.strerror}" if error.filename else str(error)))
                drop_output()
                return MISUSE if isinstance(error, WRONG_PATHS) else FAILED
            return FAILED

        return guarded

    return guard


def drop_output() -> None:
    """Let what still waits for standard output go nowhere, so that the end of the process does not fail on it."""
    with suppress(AttributeError, OSError, ValueError):  # it is closed, or none of the system's
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


@contextmanager
def interrupts_noted() -> Iterator[Callable[[], bool]]:
    """Inside, a first ctrl-C is only noted, so that work can stop where it leaves nothing half done.

    Yields whether one came. A second one interrupts at once; one that the work took no notice of does so at the end.
    In any thread but the main one, which alone gets signals, nothing changes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    noted = threading.Event()
    before = signal.getsignal(signal.SIGINT)

    def note(_number: int, _frame: FrameType | None) -> None:
        noted.set()
        signal.signal(signal.SIGINT, before)

    signal.signal(signal.SIGINT, note)
    try:
        yield noted.is_set
    finally:
        signal.signal(signal.SIGINT, before)
    if noted.is_set():
        raise KeyboardInterrupt


def picture_path(text: str, suffixes: tuple[str, ...] = PICTURE_SUFFIXES) -> Path:
    """Check where a picture is to go; for ``argparse``.

    Raises
    ------
    argparse.ArgumentTypeError
        When its folder is not there, or its kind is none that can be drawn.
    """
    path = Path(text)
    if path.is_dir():
        raise argparse.ArgumentTypeError(f"{text} is a folder: give the name of a file")
    if not path.parent.is_dir():
        raise argparse.ArgumentTypeError(f"there is no folder {path.parent}: make it first")
    if path.suffix.lower() not in suffixes:
        raise argparse.ArgumentTypeError(f"{text!r} does not end in {', '.join(suffixes)}")
    return path


def png_path(text: str) -> Path:
    """The same for pictures that are always PNG; the suffix may be left out."""
    path = Path(text)
    return picture_path(text if path.suffix else f"{text}.png", (".png",))


class _ShowVersion(argparse.Action):
    """Print program and version, and end; the version is looked up only when it is asked for."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        print(f"{parser.prog} {metadata.version('ictc')}")
        parser.exit()


class _ChooseColor(argparse.Action):
    """Set what rich and other libraries read: NO_COLOR and FORCE_COLOR."""

    def __call__(self, _parser: object, namespace: argparse.Namespace, value: object, _option: object = None) -> None:
        for name in ("NO_COLOR", "FORCE_COLOR"):
            os.environ.pop(name, None)
        if value != "auto":
            os.environ["NO_COLOR" if value == "never" else "FORCE_COLOR"] = "1"


class _BeQuiet(argparse.Action):
    """Set ICTC_QUIET, so that processes that this one starts are quiet too."""

    def __call__(self, _parser: object, namespace: argparse.Namespace, *_: object) -> None:
        os.environ[QUIET_VARIABLE] = "1"


def add_common_options(parser: argparse.ArgumentParser, *, quiet: bool = True) -> None:
    """``--version``, ``--color`` and, unless a command has a word of its own for it, ``--quiet``.

    They act as soon as they are parsed and leave nothing in the namespace.
    """
    common = parser.add_argument_group("of every command")
    common.add_argument("--version", action=_ShowVersion, nargs=0, dest=argparse.SUPPRESS, help="print it and end")
    common.add_argument(
        "--color",
        choices=("auto", "always", "never"),
        action=_ChooseColor,
        dest=argparse.SUPPRESS,
        help="of what is printed (default: auto, as on a terminal)",
    )
    if quiet:
        common.add_argument(
            "--quiet", action=_BeQuiet, nargs=0, dest=argparse.SUPPRESS, help="no progress and no notes; errors only"
        )


def is_quiet() -> bool:
    """Whether ``--quiet`` or the variable ICTC_QUIET asks for errors only."""
    return os.environ.get(QUIET_VARIABLE, "") not in ("", "0")


def say(name: str, what: str) -> None:
    """Print one line about a command on standard error."""
    print(f"{name}: {printable(' '.join(what.split()))}", file=sys.stderr)

"""How commands end: by one line and a status, whatever went wrong outside the program."""

import os
import signal
import subprocess
import sys
import threading
import tomllib
from importlib import import_module
from pathlib import Path

import pytest

from model import commands
from model.commands import command, interrupts_noted
from model.files import replacing


class FailedError(Exception):
    pass


class WrongError(FailedError):
    pass


@pytest.mark.parametrize(
    ("error", "status", "line"),
    [
        (WrongError("no\n  such thing"), 2, "ictc-x: no such thing\n"),
        (FileExistsError(17, "File exists", "/a/b"), 2, "ictc-x: /a/b: File exists\n"),
        (OSError(28, "No space left on device"), 1, "ictc-x: [Errno 28] No space left on device\n"),
        (FailedError("the other end is away"), 1, "ictc-x: the other end is away\n"),
        (BrokenPipeError(32, "Broken pipe"), 1, ""),
        (KeyboardInterrupt(), 130, "ictc-x: interrupted: go on\n"),
        (None, 0, ""),
    ],
)
def test_an_error_is_one_line_and_a_status(error, status, line, capsys):
    """What a user can change is told in one line that begins with the command's name."""

    @command("ictc-x", WrongError, failed=(FailedError,), interrupted="interrupted: go on")
    def main(argv=None):
        if error is not None:
            raise error
        return 0

    assert main([]) == status
    assert capsys.readouterr().err == line


def test_a_programming_error_keeps_its_traceback():
    """What no user can change is not hidden."""

    @command("ictc-x", WrongError)
    def main(argv=None):
        raise KeyError("oops")

    with pytest.raises(KeyError):
        main([])


def test_a_first_interrupt_is_noted_and_a_second_one_interrupts():
    """Work is asked to stop before it is made to, and signals are handled as before afterwards."""
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), interrupts_noted() as interrupted:
        assert not interrupted()
        signal.raise_signal(signal.SIGINT)
        assert interrupted()
        signal.raise_signal(signal.SIGINT)
        pytest.fail("the second one did not interrupt")
    assert signal.getsignal(signal.SIGINT) is before


def test_an_interrupt_that_was_not_heeded_comes_at_the_end():
    """Work that ends without having looked is interrupted then; without a signal nothing happens."""
    with interrupts_noted():
        pass
    done = []
    with pytest.raises(KeyboardInterrupt), interrupts_noted():
        signal.raise_signal(signal.SIGINT)
        done.append(1)
    assert done == [1]


def test_other_threads_get_no_signals():
    """Where signals never come, work is never asked to stop."""
    seen = []

    def work():
        with interrupts_noted() as interrupted:
            seen.append(interrupted())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [False]


def test_an_interrupt_during_imports_is_one_line(tmp_path):
    """Ctrl-C while a command's modules are being imported ends like any other."""
    (tmp_path / "slow.py").write_text("raise KeyboardInterrupt\n")
    program = "from ictc.command import Command; sys.exit(Command('x', '', 'slow:parser', 'slow:main').run([]))"
    path = f"import sys; sys.path[:0] = [{str(tmp_path)!r}, {str(Path(commands.__file__).parents[1])!r}]; "
    ended = subprocess.run([sys.executable, "-c", path + program], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (130, "ictc-x: interrupted\n")


def test_every_command_can_be_started(repo_root):
    """What the package installs as commands are functions that exist."""
    scripts = tomllib.loads((repo_root / "pyproject.toml").read_text())["project"]["scripts"]
    for name, entry in scripts.items():
        module, function = entry.split(":")
        assert callable(getattr(import_module(module), function)), name


def test_a_replaced_file_is_whole_or_what_it_was(tmp_path):
    """An exception leaves the old file and nothing beside it."""
    path = tmp_path / "file"
    with replacing(path) as partial:
        partial.write_text("one")
    with pytest.raises(WrongError), replacing(path) as partial:
        partial.write_text("half of tw")
        raise WrongError
    assert path.read_text() == "one"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o077, 0o600)])
def test_a_replaced_file_has_the_mode_of_any_new_file(tmp_path, mask, mode):
    """The umask decides who may read, not the library that wrote, nor what was there or half there before."""
    path = tmp_path / "file"
    for left in (path, tmp_path / "file.partial"):
        left.touch(0o600)
    before = os.umask(mask)
    try:
        with replacing(path) as partial:
            partial.unlink()
            os.close(os.open(partial, os.O_CREAT | os.O_WRONLY, 0o600))
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == mode

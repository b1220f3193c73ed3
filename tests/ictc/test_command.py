"""The program ``ictc`` and the programs of its commands."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from full_disk import ended_without_output

from ictc.command import COMMANDS, main

HEAVY = ("torch", "matplotlib", "sklearn", "onnxruntime")


def run(*words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """The program as a process of its own."""
    command = [sys.executable, "-m", "ictc.command", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, **variables})


@pytest.mark.slow
@pytest.mark.parametrize("words", [(), *((name,) for name in COMMANDS)], ids=lambda words: " ".join(words) or "ictc")
def test_help_comes_before_anything_heavy_is_imported(words: tuple[str, ...]) -> None:
    """Help of every command is printed, with status 0, by a process that never imports torch or its like."""
    script = (
        "import sys\nfrom ictc.command import main\n"
        "try:\n    main(sys.argv[1:])\nexcept SystemExit as end:\n"
        f"    print(end.code, sorted(set(sys.modules) & {set(HEAVY)}))"
    )
    process = subprocess.run(
        [sys.executable, "-c", script, *words, "--help"], capture_output=True, text=True, check=True
    )
    assert "--version" in process.stdout
    assert process.stdout.endswith("0 []\n")


def test_misuse_comes_before_anything_heavy_is_imported() -> None:
    """A wrong option is told with the usage and status 2."""
    process = run("train", "no-such-recipe", "--dta", "x")
    assert process.returncode == 2
    assert "usage: ictc-train" in process.stderr


def test_version_is_told_by_every_command() -> None:
    """``--version`` names the program and the version."""
    for words in ((), ("replay",)):
        process = run(*words, "--version")
        assert process.returncode == 0
        assert process.stdout.split()[0] == "-".join(("ictc", *words))
        assert process.stdout.split()[1][0].isdigit()


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_completion_knows_commands_and_their_options(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The script for each shell holds the commands and their flags."""
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert all(word in script for word in ("replay", "simulate", "--deterministic", "--allow-untrained"))


@pytest.mark.slow
def test_completion_works_in_bash(tmp_path: Path) -> None:
    """In bash, ``ictc re<TAB>`` becomes ``ictc replay``."""
    script = tmp_path / "ictc.bash"
    script.write_text(run("completion", "bash").stdout, "utf-8")
    completion = (
        f"source {script}; COMP_WORDS=(ictc re); COMP_CWORD=1; _shtab_ictc; printf '%s\n' \"${{COMPREPLY[@]}}\""
    )
    assert subprocess.run(["bash", "-c", completion], capture_output=True, text=True, check=True).stdout.split() == [
        "replay"
    ]


@pytest.mark.slow
def test_a_command_runs_as_a_program_of_its_own(tmp_path: Path) -> None:
    """``ictc inspect`` and ``ictc-inspect`` do the same: here, an empty folder is told and the status is 1."""
    as_command = run("inspect", str(tmp_path))
    program = (
        "import sys; sys.argv[0] = '/usr/bin/ictc-inspect'\n"
        "from ictc.command import run_program\nsys.exit(run_program())"
    )
    as_program = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert (as_command.returncode, as_command.stderr) == (as_program.returncode, as_program.stderr)
    assert as_command.returncode == 1
    assert str(tmp_path) in as_command.stderr


@pytest.mark.slow
def test_color_is_chosen_by_a_flag(tmp_path: Path) -> None:
    """``--color always`` colours what goes into a pipe, ``--color never`` nothing."""
    (tmp_path / "a.avro").write_bytes(b"no alert")
    coloured = run("inspect", str(tmp_path), "--color", "always").stdout
    plain = run("inspect", str(tmp_path), "--color", "never", FORCE_COLOR="1").stdout
    assert "\x1b[" in coloured
    assert plain
    assert "\x1b[" not in plain


def test_types_in_help_are_words() -> None:
    """Help of the service shows words for what a setting is, not Python's types."""
    text = run("broker", "--help").stdout
    assert "--kafka.topics A,B,..." in text
    assert "--registry.timeout-s SECONDS" in text
    assert not any(word in text for word in ("SecretStr", "tuple[", "dict["))


@pytest.mark.slow
@pytest.mark.parametrize("words", [("completion", "bash"), ("--help",), ("replay", "--help")], ids=" ".join)
def test_output_that_goes_nowhere_is_a_status_and_a_line(words: tuple[str, ...]) -> None:
    """A full disk is told in a line, a reader that left is not; both are status 1, without a traceback."""
    environment = {**os.environ, "PYTHONUNBUFFERED": ""}
    command = [sys.executable, "-m", "ictc.command", *words]
    ended = ended_without_output(command, environment)
    program = "ictc-replay" if words[0] == "replay" else "ictc"
    assert [(one.returncode, one.stderr) for one in ended] == [(1, f"{program}: No space left on device\n"), (1, "")]

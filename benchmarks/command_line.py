"""What commands cost before they do their work: processor time, memory, and whether torch is imported.

``python -m benchmarks.command_line [--rounds 5]``. Each command runs as a process of its own, all in turns: the median
over the rounds of its processor time (all threads, user and system), and its largest resident memory.
"""

import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.end_to_end.alerts import many
from benchmarks.parser import parser_of
from benchmarks.setting import describe
from broker_filter.series.lmdb.store import LmdbSeriesStore
from ictc.command import COMMANDS

HELP_GOAL_S = 0.5
RUN = "import sys; from ictc.command import main; sys.exit(main(sys.argv[1:]))"
# At its end a process tells whether torch is there, and its peak of memory: wait4's is at least that of its parent.
TELL = """
import atexit, sys
def tell():
    status = open("/proc/self/status").read()
    print("torch" in sys.modules, int(status.partition("VmHWM:")[2].split()[0]) / 1024, file=sys.stderr)
atexit.register(tell)
"""


@dataclass(frozen=True)
class Start:
    """A command, and what it took in each round."""

    words: tuple[str, ...]
    imports_torch: bool
    memory_mib: float
    cpu_s: list[float] = field(default_factory=list)

    def run(self) -> None:
        """Take one more measurement."""
        process = subprocess.Popen(_python(RUN, self.words), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        _, _, used = os.wait4(process.pid, 0)
        self.cpu_s.append(used.ru_utime + used.ru_stime)

    @property
    def name(self) -> str:
        """The command without paths."""
        return " ".join(word if "/" not in word else Path(word).name for word in self.words)


def _python(code: str, words: Sequence[str]) -> list[str]:
    if words == ("import ictc",):
        return [sys.executable, "-c", code.replace(RUN, words[0])]
    return [sys.executable, "-c", code, *words]


def commands(folder: Path) -> list[tuple[str, ...]]:
    """What is started; the folder gets an alert and a store."""
    alert = folder / "alert.avro"
    alert.write_bytes(many("ztf", 1)[1][0].content)
    LmdbSeriesStore(folder / "store").close()
    return [
        ("import ictc",),
        ("--help",),
        ("--version",),
        ("completion", "bash"),
        *((name, "--help") for name in COMMANDS),
        ("replay", "--no-such-option"),
        ("inspect", str(alert)),
        ("inspect", str(alert), "--png", str(folder / "alert.png")),
        ("store", "info", "--path", str(folder / "store")),
        ("broker", "--check"),
        ("replay", str(alert)),
    ]


def started(words: tuple[str, ...]) -> Start:
    """A command, asked what it imports and holds; this first run also fills the caches."""
    done = subprocess.run(_python(TELL + RUN, words), capture_output=True, text=True, check=False)
    imports_torch, memory_mib = done.stderr.split()[-2:]
    return Start(words, imports_torch == "True", float(memory_mib))


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = parser_of(__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args(arguments)
    console = Console()
    console.print(describe("torch", "pydantic"))
    with tempfile.TemporaryDirectory() as folder:
        starts = [started(words) for words in commands(Path(folder))]
        for _ in range(options.rounds):
            for start in starts:
                start.run()
    table = Table("ictc ...", "processor time, s", "memory, MiB", "imports torch")
    for start in starts:
        cpu_s = f"{statistics.median(start.cpu_s):.2f}"
        table.add_row(start.name, cpu_s, f"{start.memory_mib:.0f}", "yes" if start.imports_torch else "no")
    console.print(table)
    helps = [statistics.median(start.cpu_s) for start in starts if start.words[-1] == "--help"]
    console.print(f"--help: {min(helps):.2f} to {max(helps):.2f} s; goal {HELP_GOAL_S} s")


if __name__ == "__main__":
    main()

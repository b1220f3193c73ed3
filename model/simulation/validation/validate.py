"""All validation checks, as a table and an HTML report. Makes no check itself but the last, determinism."""

import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from rich.console import Console
from rich.table import Table

from model.simulation.datasets import draw as datasets
from model.simulation.datasets.plan import CLASSES, SURVEY_MODE, DatasetRequest, Order, load_recipe
from model.simulation.parallel import in_order
from model.simulation.surveys import SURVEYS
from model.simulation.validation import Check
from model.simulation.validation.images import image_checks
from model.simulation.validation.physics.physics_checks import physics_checks

QUICK_SHARE = 0.2  # of the objects that the full checks draw
FILE_WIDTH = 160  # of the table where no terminal limits it
WORDS = {True: "pass", False: "FAIL", None: "skipped"}
STYLES = {True: "green", False: "bold red", None: "dim"}
NETWORK_EVENTS = ("socket.__new__", "socket.connect", "socket.getaddrinfo", "urllib.Request")


def run_checks(
    real_data: Path | None, seed: int, quick: bool, tell: Callable[[Check], None] = lambda check: None
) -> list[Check]:
    """Make every check, in the order of their numbers.

    Parameters
    ----------
    real_data
        Folder of real alerts and catalogues; None skips what needs it.
    quick
        Draw fewer objects: tolerances are those of the full checks, so a rare miss is chance.
    """
    share = QUICK_SHARE if quick else 1.0
    checks: list[Check] = []
    for source in (
        physics_checks(real_data, seed, share),
        image_checks(seed, share, real_data),
        determinism_checks(seed),
    ):
        for check in source:
            tell(check)
            checks.append(check)
    return sorted(checks, key=lambda check: check.number)


def determinism_checks(seed: int, objects_per_class: int = 5) -> Iterator[Check]:
    """Check 13: the same bytes from the same seed, in one process or two, and no socket opened on the way."""
    recipe = load_recipe("smoke")
    opened: list[str] = []
    watching = [True]

    def watch(event: str, arguments: tuple[object, ...]) -> None:
        if watching[0] and event in NETWORK_EVENTS:
            opened.append(event)

    sys.addaudithook(watch)  # cannot be taken off, only told to look away
    items = [
        (
            Order(number, label, label, "all", None, SURVEY_MODE[survey.name], False),
            datasets.settings_of(DatasetRequest(recipe, survey, seed)),
        )
        for survey in SURVEYS.values()
        for number, label in enumerate(CLASSES * objects_per_class)
    ]
    alone, together = (list(in_order(datasets.digest, items, workers)) for workers in (1, 2))
    watching[0] = False
    equal = sum(one == other for one, other in zip(alone, together, strict=True))
    value = f"{equal} of {len(items)} objects"
    yield Check(13, "same seed, same bytes: one process and two", "all equal", value, equal == len(items))
    value = "none" if not opened else ", ".join(sorted(set(opened)))
    yield Check(13, "network connections opened", "none", value, not opened)


def print_table(checks: list[Check], console: Console) -> None:
    """One row per statistic: number, statistic, target, value, verdict."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("#", "statistic", "target", "value", ""):
        table.add_column(name, overflow="fold")
    for check in checks:
        verdict = f"[{STYLES[check.passed]}]{WORDS[check.passed]}[/]"
        table.add_row(str(check.number), check.statistic, check.target, check.value, verdict)
    console.print(table)


def default_real_data() -> Path | None:
    """Where real data lie: what ICTC_SHARED_DATA says, or ``shared/data`` beside the checkout."""
    folder = Path(os.environ.get("ICTC_SHARED_DATA", Path(__file__).resolve().parents[4] / "shared" / "data"))
    return folder if folder.is_dir() else None


def validate(html: Path | None, quick: bool, seed: int, real_data: Path | None) -> int:
    """Make the checks, print them, write the report.

    Returns
    -------
    int
        0 when no check failed, else 1.
    """
    console, errors = Console(), Console(stderr=True)
    if not console.is_terminal:
        console.width = FILE_WIDTH
    started = time.monotonic()
    with errors.status("validating") as status:
        checks = run_checks(real_data, seed, quick, lambda c: status.update(f"check {c.number}: {c.statistic}"))
    print_table(checks, console)
    failed = sum(check.passed is False for check in checks)
    skipped = sum(check.passed is None for check in checks)
    passed = len(checks) - failed - skipped
    size = "quick" if quick else "full"
    summary = (
        f"{passed} passed, {failed} failed, {skipped} skipped ({size}, seed {seed}, {time.monotonic() - started:.0f} s)"
    )
    console.print(summary)
    if html is not None:
        from model.simulation.validation.validation_report import write_report  # noqa: PLC0415 - the table needs no plots

        write_report(checks, summary, seed, html)
        console.print(f"report: {html}")
    return int(failed > 0)

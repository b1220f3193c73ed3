"""The command ``ictc-simulate``: arguments in, one room's work done, errors as one line. Simulates nothing itself."""

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from model.dataset import DatasetError
from model.simulation.recipes import MODES, SURVEYS, RecipeError, load_recipe, shipped_recipes

MISUSE = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Returns
    -------
    int
        0 done, 1 could not be done, 2 asked wrongly, 130 interrupted (run again to go on).
    """
    options = _parser().parse_args(arguments)
    try:
        return int(options.run(options))
    except RecipeError as exc:
        print(f"ictc-simulate: {exc}", file=sys.stderr)
        return MISUSE
    except DatasetError as exc:
        print(f"ictc-simulate: {exc}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("ictc-simulate: interrupted; the same command goes on from here", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "ictc-simulate", description="Labelled image series and alerts of a simulated sky."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    dataset = commands.add_parser("dataset", help="write a labelled data set")
    dataset.add_argument("--survey", required=True, choices=SURVEYS)
    dataset.add_argument("--recipe", required=True, help=f"a JSON file, or one of {', '.join(shipped_recipes())}")
    dataset.add_argument("--seed", type=_seed, required=True)
    dataset.add_argument("--out", type=Path, required=True, metavar="DIR")
    dataset.add_argument("--mode", choices=MODES, help="label mode of all groups (default: as the recipe says)")
    dataset.add_argument("--level", type=int, choices=range(5), help="realism (default: as the recipe says)")
    dataset.add_argument(
        "--size", type=_positive, metavar="PIXELS", help="side of a stamp (default: as the recipe says)"
    )
    dataset.add_argument("--workers", type=_positive, default=2)
    dataset.set_defaults(run=_dataset)
    return parser


def _seed(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0")
    return int(text)


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1")
    return int(text)


@contextmanager
def progress_bar(what: str) -> Iterator[Callable[[int, int], None]]:
    """A bar on the terminal, nothing elsewhere; call it with what is done and the total."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    console = Console(stderr=True)
    with Progress(*columns, TimeRemainingColumn(), console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _dataset(options: argparse.Namespace) -> int:
    from model.dataset import Dataset  # noqa: PLC0415 - the parser answers --help without loading pyarrow's readers
    from model.simulation.datasets import write_dataset  # noqa: PLC0415

    recipe = load_recipe(options.recipe)
    with progress_bar(f"{recipe.name} {options.survey}") as progress:
        write_dataset(
            recipe,
            options.survey,
            options.seed,
            options.out,
            mode=options.mode,
            level=options.level,
            size_px=options.size,
            workers=options.workers,
            progress=progress,
        )
    dataset = Dataset.open(options.out)
    for split, counts in dataset.manifest["counts"].items():
        print(f"{split:12}" + "".join(f"{label:>10} {count:6}" for label, count in counts.items()))
    size = sum(entry["bytes"] for entry in dataset.manifest["files"].values())
    print(f"{options.out}: {len(dataset)} objects, {dataset.manifest['frames']} frames, {size / 1e6:.0f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())

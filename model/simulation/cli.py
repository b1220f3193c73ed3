"""The command ``ictc-simulate``: arguments in, one room's work done, errors as one line. Simulates nothing itself."""

import argparse
import json
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

    alerts = commands.add_parser("alerts", help="write or publish alert packets")
    alerts.add_argument("--survey", required=True, choices=("ztf", "lsst"))
    alerts.add_argument("--nights", type=_positive, default=1)
    alerts.add_argument("--objects", type=_positive, default=100, help="things that alert at least once")
    alerts.add_argument("--seed", type=_seed, default=0)
    alerts.add_argument("--start", type=float, metavar="MJD", help="first night (default: one of the survey's own)")
    alerts.add_argument("--mode", choices=MODES, default="physical", help="label mode")
    alerts.add_argument("--out", type=Path, metavar="DIR", help="a file per alert and truth.parquet")
    alerts.add_argument("--publish", metavar="TOPIC", help="send to Kafka; what --out holds already is not made again")
    alerts.add_argument("--brokers", default="localhost:9092", help="of Kafka, for --publish (default: %(default)s)")
    pace = alerts.add_mutually_exclusive_group()
    pace.add_argument("--rate", type=float, metavar="HZ", help="alerts a second")
    pace.add_argument("--burst", type=_positive, metavar="N", help="N alerts at once, every 37 to 39 seconds")
    alerts.add_argument("--workers", type=_positive, default=2)
    alerts.set_defaults(run=_alerts)

    look = commands.add_parser("look", help="draw one object: stamps, light curve, truth")
    look.add_argument("dataset", type=Path, metavar="DATASET")
    look.add_argument("--object", type=_seed, default=0, metavar="N", help="its row in the data set")
    look.add_argument("--png", type=Path, required=True, metavar="FILE")
    look.set_defaults(run=_look)

    validate = commands.add_parser("validate", help="check the simulated sky against the real one")
    validate.add_argument("--html", type=Path, metavar="FILE", help="write a report with plots")
    validate.add_argument("--quick", action="store_true", help="fewer objects: a minute, not many")
    validate.add_argument("--seed", type=_seed, default=1)
    validate.add_argument("--real", type=Path, metavar="DIR", help="real alerts and catalogues (or ICTC_SHARED_DATA)")
    validate.set_defaults(run=_validate)
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


def _alerts(options: argparse.Namespace) -> int:
    from model.simulation.alert_files import read_alerts, write_alerts  # noqa: PLC0415 - as above
    from model.simulation.night import write_night  # noqa: PLC0415
    from model.simulation.publish import Pace, PublishError, publish  # noqa: PLC0415

    if options.out is None and options.publish is None:
        print("ictc-simulate: say where the alerts go: --out DIR, --publish TOPIC, or both", file=sys.stderr)
        return MISUSE
    if options.rate is not None and options.rate <= 0:
        print(f"ictc-simulate: --rate is {options.rate}, it must be above 0", file=sys.stderr)
        return MISUSE
    asked = {name: getattr(options, name) for name in ("survey", "nights", "objects", "seed", "start", "mode")}
    made_already = options.publish is not None and options.out is not None and holds_alerts(options.out, asked)
    with progress_bar(f"{options.survey} alerts") as progress:
        packets = write_night(
            options.survey,
            options.objects,
            options.nights,
            options.seed,
            start_mjd=options.start,
            mode=options.mode,
            workers=options.workers,
            progress=progress,
        )
        if options.out is not None and not made_already:
            count = write_alerts(packets, options.out, asked)
            print(f"{options.out}: {count} alerts of {options.survey}, truth in truth.parquet")
        if options.publish is not None:
            source = packets if options.out is None else read_alerts(options.out)
            try:
                sent = publish(source, options.publish, options.brokers, Pace(options.rate, options.burst))
            except PublishError as exc:
                print(f"ictc-simulate: {exc}", file=sys.stderr)
                return 1
            print(f"{sent} alerts sent to {options.publish} at {options.brokers}")
    return 0


def _look(options: argparse.Namespace) -> int:
    from model.dataset import Dataset  # noqa: PLC0415 - as above
    from model.simulation.look import NoSuchObjectError, save_object  # noqa: PLC0415

    try:
        save_object(Dataset.open(options.dataset), options.object, options.png)
    except NoSuchObjectError as exc:
        print(f"ictc-simulate: {exc}", file=sys.stderr)
        return MISUSE
    print(options.png)
    return 0


def _validate(options: argparse.Namespace) -> int:
    from model.simulation.validate import default_real_data, validate  # noqa: PLC0415 - as above

    real_data = options.real or default_real_data()
    if real_data is not None and not real_data.is_dir():
        print(f"ictc-simulate: there is no folder {real_data}", file=sys.stderr)
        return MISUSE
    return validate(options.html, options.quick, options.seed, real_data)


def holds_alerts(folder: Path, asked: dict[str, object]) -> bool:
    """Whether a folder holds exactly the alerts that are asked for."""
    path = folder / "alerts.json"
    if not path.is_file():
        return False
    found = json.loads(path.read_text("utf-8"))
    return all(found.get(name) == value for name, value in asked.items())


if __name__ == "__main__":
    sys.exit(main())

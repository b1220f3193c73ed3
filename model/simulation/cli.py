"""The command ``ictc-simulate``: data sets, alerts, validation, sheets. Simulates nothing itself."""

import argparse
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from model.commands import DONE, FAILED, INTERRUPTED, MISUSE, add_common_options, command, is_quiet, picture_path, say
from model.data.checked import open_checked
from model.data.dataset import Dataset, DatasetError
from model.printable import printable
from model.simulation.alerts.alert_files import EARLIEST_MJD, LATEST_MJD, holds_alerts, read_alerts, write_alerts
from model.simulation.datasets.plan import (
    DatasetRecipeError,
    DatasetRequest,
    UnseenError,
    load_recipe,
    shipped_recipes,
)
from model.simulation.datasets.recipe_schema import LARGEST_PX, MOST_OBJECTS, SMALLEST_PX
from model.simulation.identity import simulator_hash
from model.simulation.sky.labels import MODES
from model.simulation.sources.templates import TemplatesError, hash_of_templates
from model.simulation.surveys import SURVEYS, survey_named
from model.taxonomy import Taxonomy, TaxonomyError, load_taxonomy

Commands = argparse._SubParsersAction  # argparse gives it no public name
MOST_NIGHTS, MOST_WORKERS = 3_650, 256


@command("ictc-simulate", DatasetRecipeError, TaxonomyError, TemplatesError, failed=(DatasetError, UnseenError))
def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Returns
    -------
    int
        0 done, 1 could not be done, 2 asked wrongly, 130 interrupted (run again to go on).
    """
    options = parser_of_simulate().parse_args(arguments)
    try:
        return int(options.run(options))
    except KeyboardInterrupt:
        print(f"ictc-simulate: {options.interrupted}", file=sys.stderr)
        return INTERRUPTED


def parser_of_simulate() -> argparse.ArgumentParser:
    """Options of ``ictc-simulate``."""
    parser = argparse.ArgumentParser(
        "ictc-simulate", description="Labelled image series and alerts of a simulated sky."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    for add in (_add_dataset, _add_join, _add_alerts, _add_look, _add_validate):
        add(commands)
    add_common_options(parser)
    return parser


def _add_dataset(commands: Commands) -> None:
    dataset = commands.add_parser("dataset", help="write a labelled data set")
    dataset.add_argument("--survey", required=True, choices=SURVEYS)
    dataset.add_argument("--recipe", required=True, help=f"a JSON file, or one of {', '.join(shipped_recipes())}")
    dataset.add_argument("--seed", type=_seed, required=True)
    dataset.add_argument("--out", type=Path, required=True, metavar="DIR")
    dataset.add_argument("--mode", choices=MODES, help="label mode of all groups (default: as the recipe says)")
    dataset.add_argument("--level", type=int, choices=range(5), help="realism (default: as the recipe says)")
    dataset.add_argument(
        "--size",
        type=whole_number(SMALLEST_PX, LARGEST_PX),
        metavar="PIXELS",
        help="side of a stamp (default: as the recipe says)",
    )
    dataset.add_argument("--only", type=_seed, metavar="N", help="remake object N of it alone, with the same bytes")
    _add_sky(dataset)
    dataset.set_defaults(run=_dataset, interrupted="interrupted; the same command goes on from here")


def _add_join(commands: Commands) -> None:
    join = commands.add_parser("join", help="make one labelled data set of several")
    join.add_argument("datasets", type=Path, nargs="+", metavar="DATASET", help="of one survey, form and simulator")
    join.add_argument("--out", type=Path, required=True, metavar="DIR")
    join.add_argument(
        "--any-simulator", action="store_true", help="simulators may differ: their laws are known the same"
    )
    join.set_defaults(run=_join, interrupted="interrupted; the same command goes on from here")


def _add_alerts(commands: Commands) -> None:
    alerts = commands.add_parser("alerts", help="write or publish alert packets")
    alerts.add_argument("--survey", required=True, choices=("ztf", "lsst"))
    alerts.add_argument("--nights", type=whole_number(1, MOST_NIGHTS), default=1)
    alerts.add_argument(
        "--objects",
        type=whole_number(1, MOST_OBJECTS),
        default=100,
        help="things that alert at least once (%(default)s)",
    )
    alerts.add_argument("--seed", type=_seed, default=0)
    alerts.add_argument("--start", type=mjd, metavar="MJD", help="first night (default: one of the survey's own)")
    alerts.add_argument("--mode", choices=MODES, default="physical", help="label mode")
    alerts.add_argument("--out", type=Path, metavar="DIR", help="a file per alert and truth.parquet")
    alerts.add_argument("--publish", metavar="TOPIC", help="send to Kafka; what --out holds already is not made again")
    alerts.add_argument("--brokers", default="localhost:9092", help="of Kafka, for --publish (default: %(default)s)")
    pace = alerts.add_mutually_exclusive_group()
    pace.add_argument("--rate", type=_rate, metavar="HZ", help="alerts a second")
    pace.add_argument(
        "--burst", type=whole_number(1, MOST_OBJECTS), metavar="N", help="N alerts at once, every 37 to 39 seconds"
    )
    _add_sky(alerts)
    alerts.set_defaults(
        run=_alerts, interrupted="interrupted; the same command makes these alerts again from the start"
    )


def _add_look(commands: Commands) -> None:
    look = commands.add_parser("look", help="draw one object: stamps, light curve, truth")
    look.add_argument("dataset", type=Path, metavar="DATASET")
    look.add_argument("--object", type=_seed, default=0, metavar="N", help="its row in the data set")
    look.add_argument("--png", type=picture_path, required=True, metavar="FILE")
    look.set_defaults(run=_look, interrupted="interrupted")


def _add_validate(commands: Commands) -> None:
    validate = commands.add_parser("validate", help="check the simulated sky against the real one")
    validate.add_argument("--html", type=_html_path, metavar="FILE", help="write a report with plots")
    validate.add_argument("--quick", action="store_true", help="fewer objects: a minute, not many")
    validate.add_argument("--seed", type=_seed, default=1)
    validate.add_argument("--real", type=Path, metavar="DIR", help="real alerts and catalogues (or ICTC_SHARED_DATA)")
    validate.set_defaults(run=_validate, interrupted="interrupted")


def _add_sky(command: argparse.ArgumentParser) -> None:
    command.add_argument("--templates", type=Path, metavar="DIR", help="draw supernovae from these spectral templates")
    command.add_argument("--taxonomy", type=Path, metavar="FILE", help="classes and codes (default: the package's)")
    command.add_argument("--workers", type=whole_number(1, MOST_WORKERS), default=2, help="processes (%(default)s)")


def _seed(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0")
    return int(text)


def whole_number(least: int, most: int) -> Callable[[str], int]:
    """Reader of an argument that must be a whole number within limits."""

    def read(text: str) -> int:
        if not text.isdecimal() or not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from {least} to {most}")
        return int(text)

    return read


def number(least: float, most: float) -> Callable[[str], float]:
    """Reader of an argument that must be a number within limits."""

    def read(text: str) -> float:
        if (value := _number(text)) is None or not least <= value <= most:
            raise argparse.ArgumentTypeError(f"{text!r} is not a number from {least:g} to {most:g}")
        return value

    return read


def mjd(text: str) -> float:
    """Reader of an argument that must be a date."""
    if (date := _number(text)) is None or not EARLIEST_MJD <= date <= LATEST_MJD:
        raise argparse.ArgumentTypeError(f"{text!r} is no MJD from {EARLIEST_MJD} to {LATEST_MJD}")
    return date


def _rate(text: str) -> float:
    if (rate := _number(text)) is None or rate <= 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no number above 0")
    return rate


def _html_path(text: str) -> Path:
    return picture_path(text, (".html", ".htm"))


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _print(line: str) -> None:
    print(printable(line))


def _refused(why: str, status: int = MISUSE) -> int:
    say("ictc-simulate", why)
    return status


def _taxonomy(options: argparse.Namespace) -> Taxonomy | None:
    return None if options.taxonomy is None else load_taxonomy(options.taxonomy)


@contextmanager
def progress_bar(what: str) -> Iterator[Callable[[int, int], None]]:
    """A bar on the terminal, nothing elsewhere; call it with what is done and the total."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    console = Console(stderr=True)
    with Progress(
        *columns, TimeRemainingColumn(), console=console, disable=is_quiet() or not console.is_terminal
    ) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _dataset(options: argparse.Namespace) -> int:
    from model.simulation.datasets.draw import write_dataset  # noqa: PLC0415 - the parser answers --help without it

    taxonomy = _taxonomy(options)
    recipe = load_recipe(options.recipe, taxonomy)
    request = DatasetRequest(
        recipe,
        survey_named(options.survey),
        options.seed,
        mode=options.mode,
        level=options.level,
        size_px=options.size,
        templates=options.templates,
        taxonomy=taxonomy,
        only=options.only,
    )
    with progress_bar(f"{recipe.name} {options.survey}") as progress:
        write_dataset(request, options.out, options.workers, progress)
    _tell(Dataset.open(options.out))
    return DONE


def _tell(dataset: Dataset) -> None:
    """How many objects of each class the splits of a data set hold."""
    for split, counts in dataset.manifest["counts"].items():
        _print(f"{split:12}" + "".join(f"{label:>10} {count:6}" for label, count in counts.items()))
    size = sum(entry["bytes"] for entry in dataset.manifest["files"].values())
    _print(f"{dataset.folder}: {len(dataset)} objects, {dataset.manifest['frames']} frames, {size / 1e6:.0f} MB")


def _join(options: argparse.Namespace) -> int:
    from model.data.join import join  # noqa: PLC0415 - as above

    _tell(join(options.datasets, options.out, any_simulator=options.any_simulator))
    return DONE


def _alerts(options: argparse.Namespace) -> int:
    from model.simulation.alerts.night import MIX, StreamSettings, alerts_of_stream, mix_of  # noqa: PLC0415 - as above
    from model.simulation.alerts.publish import PublishError, SurveyPace, publish  # noqa: PLC0415

    if options.out is None and options.publish is None:
        return _refused("say where the alerts go: --out DIR, --publish TOPIC, or both")
    taxonomy = _taxonomy(options)
    request: dict[str, object] = {
        name: getattr(options, name) for name in ("survey", "nights", "objects", "seed", "start", "mode")
    }
    request["simulator"] = simulator_hash()
    request["templates"] = None if options.templates is None else hash_of_templates(options.templates)
    request["taxonomy"] = None if taxonomy is None else {"classes": list(taxonomy.classes), "codes": taxonomy.codes}
    made_already = options.publish is not None and options.out is not None and holds_alerts(options.out, request)
    stream = StreamSettings(
        survey=survey_named(options.survey),
        seed=options.seed,
        templates=options.templates,
        taxonomy=taxonomy,
        objects=options.objects,
        nights=options.nights,
        start_mjd=options.start,
        mode=options.mode,
        mix=dict(MIX) if taxonomy is None else mix_of(taxonomy),
    )
    with progress_bar(f"{options.survey} alerts") as progress:
        packets = alerts_of_stream(stream, options.workers, progress)
        if options.out is not None and not made_already:
            count = write_alerts(packets, options.out, request)
            _print(f"{options.out}: {count} alerts of {options.survey}, truth in truth.parquet")
        if options.publish is not None:
            source = packets if options.out is None else read_alerts(options.out)
            try:
                sent = publish(source, options.publish, options.brokers, SurveyPace(options.rate, options.burst))
            except PublishError as exc:
                return _refused(str(exc), FAILED)
            _print(f"{sent} alerts sent to {options.publish} at {options.brokers}")
    return DONE


def _look(options: argparse.Namespace) -> int:
    from model.simulation.datasets.object_sheet import NoSuchObjectError, save_object  # noqa: PLC0415 - as above

    if not options.dataset.exists():
        return _refused(f"there is no data set at {options.dataset}")
    try:
        save_object(open_checked(options.dataset), options.object, options.png)
    except NoSuchObjectError as exc:
        return _refused(str(exc))
    _print(str(options.png))
    return DONE


def _validate(options: argparse.Namespace) -> int:
    from model.simulation.validation.validate import default_real_data, validate  # noqa: PLC0415 - as above

    real_data = options.real or default_real_data()
    if real_data is not None and not real_data.is_dir():
        return _refused(f"there is no folder {real_data}")
    return validate(options.html, options.quick, options.seed, real_data)


if __name__ == "__main__":
    sys.exit(main())

"""Processor time of one real alert by several sets of weights, turn by turn, in torch and in ONNX Runtime.

``python -m benchmarks.real_ztf.cost ztf OLDER...``: weights that are shipped or were, the last one to compare with. To
get those of another commit: ``git show COMMIT:model/weights/ztf.json > old/ztf.json``, the same of ``.safetensors``.
Alerts come one by one and 64 at a time, each with what its packet tells of the past; networks alone, one thread.
"""

import logging
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from benchmarks.parser import parser_of
from benchmarks.real_ztf.alerts import read
from benchmarks.setting import describe, shared_data
from broker_filter.alerts.packet_schema import Schemas
from broker_filter.errors import NotClassifiedError, RejectedAlertError
from broker_filter.packets import series_of
from model.past_photometry import History
from model.series import Series
from model.serving.card import load_card
from model.serving.engine import EngineName, EngineUnavailableError
from model.serving.predictor import Predictor

ALERTS, BATCH, TURNS = 256, 64, 7
ENGINES: tuple[EngineName, ...] = ("torch", "onnxruntime")


@dataclass(frozen=True, slots=True)
class Prepared:
    """One alert as a network reads it."""

    series: Series
    history: History


class Way(NamedTuple):
    """How alerts are classified."""

    version: str
    engine: str
    batch: int


def prepared(folder: Path, predictor: Predictor) -> Iterator[Prepared]:
    """Alerts that are classified, each by itself as it would come first."""
    schemas = Schemas()
    for path, _, _ in read(folder):
        try:
            yield Prepared(*series_of([path.read_bytes()], predictor, schemas))
        except (NotClassifiedError, RejectedAlertError):
            continue


def milliseconds(predictor: Predictor, alerts: Sequence[Prepared], batch: int) -> float:
    """Processor time of an alert."""
    begun = time.process_time()
    for start in range(0, len(alerts), batch):
        some = alerts[start : start + batch]
        vectors = predictor.embed([alert.series for alert in some])
        predictor.classify(list(vectors[:, None]), [a.series for a in some], [a.history for a in some])
    return 1e3 * (time.process_time() - begun) / len(alerts)


def quartiles_of_turns(measures: dict[Way, Callable[[], float]]) -> dict[Way, list[float]]:
    """Quartiles and median of every measure, each in its turn, the first turn left out."""
    turns = [{way: measure() for way, measure in measures.items()} for _ in range(TURNS + 1)][1:]
    return {way: np.percentile([turn[way] for turn in turns], (25, 50, 75)).tolist() for way in measures}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    parser = parser_of(__doc__)
    parser.add_argument("weights", nargs="+", help="paths of weights, or a shipped survey")
    options = parser.parse_args(argv)
    data = shared_data()
    if data is None:
        print("no real alerts here: set ICTC_SHARED_DATA to their folder; nothing was measured")
        return 0
    torch.set_num_threads(1)
    logging.disable(logging.WARNING)  # what is no alert of a star or a supernova is left out with a word
    measures: dict[Way, Callable[[], float]] = {}
    for engine in ENGINES:
        for name in options.weights:
            try:
                predictor = Predictor.load(name, engine=engine)
            except EngineUnavailableError as exc:  # graphs are kept for shipped networks alone
                print(f"{name}: {exc}", file=sys.stderr)
                continue
            alerts = list(islice(prepared(data / "alerts" / "ztf", predictor), ALERTS))
            for batch in (1, BATCH):
                some = alerts[:BATCH] if batch == 1 else alerts
                way = Way(predictor.card.version, engine, batch)
                measures[way] = lambda p=predictor, a=some, b=batch: milliseconds(p, a, b)  # type: ignore[misc]
    title = f"Processor time of an alert, ms; quartiles of {TURNS} turns"
    table = Table(title=title, caption=describe("torch", "onnxruntime"))
    for column in ("weights", "engine", "alerts at a time", "median", "quartiles", "over the last weights"):
        table.add_column(column)
    quartiles = quartiles_of_turns(measures)
    last = load_card(options.weights[-1]).version
    for way, (low, middle, high) in quartiles.items():
        of_last = quartiles.get(way._replace(version=last))
        more = "" if of_last is None else f"{middle / of_last[1] - 1:+.0%}"
        table.add_row(way.version, way.engine, str(way.batch), f"{middle:.3f}", f"{low:.3f} to {high:.3f}", more)
    Console(width=150).print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())

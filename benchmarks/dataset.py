"""How fast data sets and alerts are made and read: ``python -m benchmarks.dataset [--full]``.

Without ``--full`` a sample of the recipe ``convention`` is made and the time of the whole is extrapolated.
"""

import os
import resource
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import setting
from benchmarks.parser import parser_of
from model.data.dataset import Dataset
from model.simulation.alerts.night import write_night
from model.simulation.datasets.draw import write_dataset
from model.simulation.datasets.plan import DatasetRecipe, DatasetRequest, load_recipe, parse_recipe, plan
from model.simulation.surveys import SDSS, survey_named

SAMPLE_SHARE = 0.025  # of the recipe's objects
WORKERS = 2
ALERT_OBJECTS, ALERT_NIGHTS = 100, 30


def main(full: bool) -> None:
    print(setting.describe("numpy", "pyarrow"))
    whole = load_recipe("convention")
    total = len(plan(DatasetRequest(whole, SDSS, 1)))
    with tempfile.TemporaryDirectory() as folder:
        if full:
            _make(whole, "sdss", Path(folder) / "full", total)
        else:
            for survey in ("sdss", "ztf", "lsst"):
                _make(_sample(whole.source), survey, Path(folder) / survey, total)
        for survey in ("ztf", "lsst"):
            _alerts(survey)
    print(f"largest memory: {_peak_mb('self'):.0f} MB in this process, {_peak_mb('children'):.0f} MB in a worker")


def _sample(source: Mapping[str, Any]) -> DatasetRecipe:
    groups = [
        {**group, "counts": {label: round(count * SAMPLE_SHARE) for label, count in group["counts"].items()}}
        for group in source["groups"]
    ]
    return parse_recipe({**source, "groups": groups}, "sample")


def _make(recipe: DatasetRecipe, survey: str, folder: Path, whole: int) -> None:
    start, cpu = time.perf_counter(), _cpu_s()
    write_dataset(DatasetRequest(recipe, survey_named(survey), 1), folder, WORKERS)
    seconds, cpu = time.perf_counter() - start, _cpu_s() - cpu
    dataset = Dataset.open(folder)
    megabytes = sum(entry["bytes"] for entry in dataset.manifest["files"].values()) / 1e6
    print(
        f"{survey}: {len(dataset)} objects, {dataset.manifest['frames']} frames, {megabytes:.0f} MB in {seconds:.1f} s "
        f"with {WORKERS} workers: {len(dataset) / seconds:.0f} objects/s; "
        f"convention ({whole} objects) {seconds / len(dataset) * whole / 60:.1f} min\n"
        f"  {1e3 * cpu / len(dataset):.0f} ms of processor per object, "
        f"{cpu / len(dataset) * whole / WORKERS / 60:.1f} min for convention on {WORKERS} idle cores"
    )
    order = np.random.default_rng(1).permutation(len(dataset))
    start = time.perf_counter()
    read = sum(dataset.series(int(i)).pixels_TCHW.nbytes for i in order)
    seconds = time.perf_counter() - start
    checksum = sum(float(np.nansum(dataset.series(int(i)).pixels_TCHW[:1, 0, 0, :1])) for i in order[:10])
    print(f"  random reads: {len(order) / seconds:.0f} series/s mapped, {read / 1e6:.0f} MB ({checksum:.3f})")


def _alerts(survey: str) -> None:
    start = time.perf_counter()
    sizes = [len(packet) for packet, _ in write_night(survey, ALERT_OBJECTS, ALERT_NIGHTS, seed=1, workers=WORKERS)]
    seconds = time.perf_counter() - start
    print(
        f"{survey}: {len(sizes)} alerts of {ALERT_OBJECTS} objects in {ALERT_NIGHTS} nights, "
        f"{np.mean(sizes) / 1e3:.0f} kB each, in {seconds:.1f} s: {len(sizes) / seconds:.0f} alerts/s"
    )


def _cpu_s() -> float:
    """Processor time of this process and of the workers that it has had."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def _peak_mb(whose: str) -> float:
    who = resource.RUSAGE_SELF if whose == "self" else resource.RUSAGE_CHILDREN
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(who).ru_maxrss * unit / 1e6


if __name__ == "__main__":
    parser = parser_of(__doc__)
    parser.add_argument("--full", action="store_true", help="make the whole of convention")
    main(parser.parse_args().full)

"""``make fuzz``: every target for its share of some minutes; a table of what was tried and found.

``python tests/broker_filter/fuzz/run.py [--minutes N] [--seed N] [--table FILE]``. An input follows from the seed, the
target and its number alone: what is printed with a finding makes it again.
"""

import argparse
import logging
import os
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from pathlib import Path
from random import Random

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent), str(HERE.parents[2])]

from fuzz_targets import targets  # noqa: E402 - its folder is put on the path above

from benchmarks.setting import describe, shared_data  # noqa: E402

MOST_TOLD = 10  # findings of a target that are printed


def main() -> int:
    """Run; 0 when nothing was found, 1 otherwise."""
    parser = argparse.ArgumentParser("make fuzz", description="Attack the program with hostile inputs.")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--table", type=Path, metavar="FILE", help="write the table there too, as Markdown")
    options = parser.parse_args()
    logging.getLogger("ictc").setLevel(logging.CRITICAL)
    warnings.simplefilter("error")  # one is an error of ours that nobody saw
    with tempfile.TemporaryDirectory(prefix="ictc-fuzz-") as folder:
        attacks = targets(Path(folder), _real_packets())
        rows = [
            _attack(name, attack, options.seed, 60 * options.minutes / len(attacks)) for name, attack in attacks.items()
        ]
    head = ["| target | inputs tried | read | refused | findings |", "|---|--:|--:|--:|--:|"]
    table = "\n".join([*head, *(row for row, _ in rows)]) + "\n"
    setting = describe("fastavro", "astropy", "numpy")
    text = f"{table}\nSeed {options.seed}, {options.minutes:g} minutes, one core. {setting}\n"
    print(text)
    if options.table is not None:
        options.table.write_text(text, "utf-8")
    return int(any(findings for _, findings in rows))


def _attack(name, attack, seed: int, seconds: float) -> tuple[str, int]:
    answers: Counter[str] = Counter()
    until_s, number = time.monotonic() + seconds, 0
    while time.monotonic() < until_s:
        try:
            answers[attack(Random(f"{seed} {name} {number}"))] += 1
        except Exception:  # whatever it is, it is what we look for
            answers["finding"] += 1
            if answers["finding"] <= MOST_TOLD:
                print(f"FINDING {name!r} number {number} seed {seed}\n{traceback.format_exc()}", file=sys.stderr)
        number += 1
    tried = number - answers["not made"]
    print(f"{name}: {tried} inputs, {answers['finding']} findings", file=sys.stderr, flush=True)
    row = f"| {name} | {tried:,} | {answers['read']:,} | {answers['rejected']:,} | {answers['finding']:,} |"
    return row, answers["finding"]


def _real_packets() -> tuple[bytes, ...]:
    data = shared_data() if "ICTC_NO_REAL_DATA" not in os.environ else None
    if data is None:
        return ()
    files = [
        *sorted((data / "alerts/ztf").rglob("*.avro"))[::40],
        *sorted((data / "alerts/lsst").rglob("*.avro"))[::10],
    ]
    return tuple(path.read_bytes() for path in files)


if __name__ == "__main__":
    sys.exit(main())

"""Runs every benchmark in a process of its own, in the order of their names: ``python -m benchmarks [NAME...]``."""

import pkgutil
import subprocess
import sys
from pathlib import Path

NOT_BENCHMARKS = {"__main__", "ict", "neighbours", "setting"}


def main(names: list[str]) -> int:
    """Run the named benchmarks, or all; return how many failed."""
    known = sorted({module.name for module in pkgutil.iter_modules([str(Path(__file__).parent)])} - NOT_BENCHMARKS)
    unknown = set(names) - set(known)
    if unknown:
        print(f"no benchmark {', '.join(sorted(unknown))}; there are: {', '.join(known)}", file=sys.stderr)
        return 2
    failed = 0
    for name in names or known:
        print(f"\n== python -m benchmarks.{name}", flush=True)
        failed += subprocess.run([sys.executable, "-m", f"benchmarks.{name}"], check=False).returncode != 0
    return failed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""All benchmarks in the order of their names, each in a process of its own: ``python -m benchmarks [NAME...]``."""

import pkgutil
import subprocess
import sys
from pathlib import Path

NOT_BENCHMARKS = {"__main__", "ict", "neighbours", "service", "setting"}
HERE = Path(__file__).parent


def known() -> list[str]:
    """Return what can be run: each file and folder of benchmarks, and each file of those about a service."""
    single = {module.name for module in pkgutil.iter_modules([str(HERE)])} - NOT_BENCHMARKS
    return sorted(single | {module.name for module in pkgutil.iter_modules([str(HERE / "service")], "service.")})


def main(names: list[str]) -> int:
    """Run the named benchmarks, or all; return how many failed."""
    there = known()
    unknown = set(names) - set(there)
    if unknown:
        print(f"no benchmark {', '.join(sorted(unknown))}; there are: {', '.join(there)}", file=sys.stderr)
        return 2
    failed = 0
    for name in names or there:
        print(f"\n== python -m benchmarks.{name}", flush=True)
        failed += subprocess.run([sys.executable, "-m", f"benchmarks.{name}"], check=False).returncode != 0
    return failed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

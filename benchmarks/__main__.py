"""Every benchmark by name: ``python -m benchmarks`` lists them, ``python -m benchmarks NAME...`` runs some.

Each is a process of its own, without options; ``--all`` runs those that need none. ``python -m benchmarks.NAME --help``
tells of the options of one.
"""

import ast
import subprocess
import sys
from pathlib import Path

from benchmarks.parser import parser_of

HERE = Path(__file__).parent
WITH_ARGUMENTS = ("controls", "ict.", "published_experiment", "real_ztf")  # a folder, weights or real alerts


def known() -> dict[str, str]:
    """First line of the docstring of each, by name: files and folders that can be run."""
    told: dict[str, str] = {}
    for path in sorted(HERE.rglob("*.py")):
        source = path.read_text("utf-8")
        if path.parent.name != "results" and path != Path(__file__) and '\nif __name__ == "__main__":\n' in source:
            name = ".".join(path.relative_to(HERE).with_suffix("").parts).removesuffix(".__main__")
            told[name] = (ast.get_docstring(ast.parse(source)) or "").partition("\n")[0]
    return dict(sorted(told.items()))


def main(arguments: list[str]) -> int:
    """List the benchmarks, or run some; return how many failed."""
    parser = parser_of(__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--all", action="store_true", help="run those that need no options")
    options = parser.parse_args(arguments)
    there = known()
    if unknown := set(options.names) - set(there):
        print(f"no benchmark {', '.join(sorted(unknown))}; there are: {', '.join(there)}", file=sys.stderr)
        return 2
    names = options.names or [name for name in there if options.all and not name.startswith(WITH_ARGUMENTS)]
    if not names:
        for name, line in there.items():
            print(f"{name:28} {line}")
    failed = 0
    for name in names:
        print(f"\n== python -m benchmarks.{name}", flush=True)
        failed += subprocess.run([sys.executable, "-m", f"benchmarks.{name}"], check=False).returncode != 0
    return failed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""``make test-adapters``: each adapter's tests, in an environment of its own with the real library.

An environment holds what the adapter's extra names, and sees beneath it the environment that this is run in, so that
torch and the rest are there once. Libraries and versions are printed with the number of tests that ran.
"""

import argparse
import hashlib
import re
import subprocess
import sys
import sysconfig
import tomllib
import venv
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ADAPTERS = ("lasair", "fink", "ampel", "hop", "fastdb", "boom")
LIBRARY = {  # whose version is printed
    "lasair": "lasair",
    "fink": "pyspark",
    "ampel": "ampel-alerts",
    "hop": "hop-client",
    "fastdb": "lsst-alert-packet",
    "boom": "onnxruntime",
}


def requirements_of(adapter: str) -> list[str]:
    """What the adapter's extra asks for."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    of_adapter: list[str] = project["optional-dependencies"][adapter]
    return of_adapter


def prepared(adapter: str, folder: Path) -> Path:
    """The Python of the adapter's environment, made or renewed where the requirements changed."""
    requirements = requirements_of(adapter)
    pins = ROOT / "tests" / "adapters" / "pins" / f"{adapter}.txt"
    python = folder / adapter / "bin" / "python"
    fingerprint = hashlib.sha256(repr((requirements, pins.read_text() if pins.exists() else "", sys.version)).encode())
    stamp = folder / adapter / ".made-of"
    if stamp.exists() and stamp.read_text() == fingerprint.hexdigest():
        return python
    venv.create(folder / adapter, clear=True, with_pip=True)
    if requirements:
        constraint = ["--constraint", str(pins)] if pins.exists() else []
        subprocess.run([python, "-m", "pip", "install", "--quiet", *constraint, *requirements], check=True)
    beneath = sysconfig.get_path("purelib")
    (folder / adapter / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages").joinpath(
        "beneath.pth"
    ).write_text(f"import site; site.addsitedir({beneath!r})\n")
    stamp.write_text(fingerprint.hexdigest())
    return python


def version_in(python: Path, distribution: str) -> str:
    """The version of a library in an environment."""
    code = f"from importlib.metadata import version; print(version({distribution!r}))"
    return subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def main() -> int:
    """Test the adapters that are named, all by default; 1 when a test failed or none ran."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("adapters", nargs="*", choices=[*ADAPTERS, []], metavar="ADAPTER", help=", ".join(ADAPTERS))
    parser.add_argument("--folder", type=Path, default=ROOT / ".venv-adapters", help="where environments are kept")
    options = parser.parse_args()
    failed, lines = [], []
    for adapter in options.adapters or ADAPTERS:
        python = prepared(adapter, options.folder)
        library = f"{LIBRARY[adapter]} {version_in(python, LIBRARY[adapter])}"
        print(f"== {adapter}: {library}", flush=True)
        command = [python, "-m", "pytest", "-q", f"tests/adapters/test_{adapter}.py"]
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        last = ""
        for line in process.stdout or ():
            print(line, end="", flush=True)
            last = line if line.strip() else last
        passed = re.search(r"(\d+) passed", last)
        lines.append(f"{adapter:8} {library:28} {last.strip()}")
        if process.wait() != 0 or passed is None:
            failed.append(adapter)
    print(f"\nPython {sys.version.split()[0]}, ictc {metadata.version('ictc')}", *lines, sep="\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

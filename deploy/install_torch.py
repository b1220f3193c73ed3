"""Installation of PyTorch for ``make install``: the CPU build where PyTorch's own index can be reached.

The build of the general package registry for Linux brings CUDA's libraries, 5 GB in all; the CPU build takes a sixth of
that. ``make install TORCH=cpu``, ``TORCH=default`` and ``TORCH=auto`` (the default) choose.
"""

import argparse
import subprocess
import sys
import urllib.error
import urllib.request
from importlib import metadata
from pathlib import Path

CPU_INDEX = "https://download.pytorch.org/whl/cpu"
PATIENCE_S = 10.0
CONSTRAINTS = Path(__file__).resolve().parents[1] / "constraints.txt"
OF_CUDA = ("nvidia-", "triton", "cuda-")


def is_reachable(index: str) -> bool:
    """Whether an index answers for torch."""
    try:
        with urllib.request.urlopen(f"{index}/torch/", timeout=PATIENCE_S) as answer:  # noqa: S310 - https, above
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def pip_command(build: str, index: str) -> list[str]:
    """The pip command that installs a build; a local version, ``+cpu``, is preferred to the same without."""
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--constraint", str(CONSTRAINTS), "torch"]
    return [*command, "--extra-index-url", index] if build == "cpu" else command


def installed_bytes() -> int:
    """Size of torch and of what only it brings."""
    total = 0
    for distribution in metadata.distributions():
        name = distribution.metadata["Name"].lower()
        if name == "torch" or name.startswith(OF_CUDA):
            total += sum(file.size or 0 for file in distribution.files or ())
    return total


def main(arguments: list[str] | None = None) -> int:
    """Install and say what was installed; the exit status is pip's."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("build", nargs="?", choices=("auto", "cpu", "default"), default="auto")
    parser.add_argument("--index", default=CPU_INDEX, help="of CPU builds (default: %(default)s)")
    options = parser.parse_args(arguments)
    build = options.build
    if build == "auto":
        needed = sys.platform == "linux"  # elsewhere the general registry's build is the CPU build
        build = "cpu" if needed and is_reachable(options.index) else "default"
    if build == "default" and options.build == "auto" and sys.platform == "linux":
        print(f"{options.index} does not answer: the default build of torch is taken, 5 GB with CUDA's libraries")
    command = pip_command(build, options.index)
    if (status := subprocess.run(command, check=False).returncode) != 0:  # noqa: S603 - pip
        return status
    print(f"torch {metadata.version('torch')} ({build} build): {installed_bytes() / 1e9:.1f} GB installed")
    return 0


if __name__ == "__main__":
    sys.exit(main())

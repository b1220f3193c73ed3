"""The pinned versions, against what the project says of itself."""

import tomllib
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet


def test_every_pinned_version_installs_on_every_python_that_is_admitted(repo_root: Path):
    """No pin that is installed asks for a newer Python than we do: Debian 12 has 3.11.2."""
    project = tomllib.loads((repo_root / "pyproject.toml").read_text())["project"]
    (oldest,) = (bound.version for bound in SpecifierSet(project["requires-python"]))
    pins = [Requirement(line) for line in (repo_root / "constraints.txt").read_text().splitlines() if "==" in line]
    asked = {}
    for pin in pins:
        try:
            found = metadata.distribution(pin.name)
        except metadata.PackageNotFoundError:  # of another Python or an adapter's own environment
            continue
        if found.version in pin.specifier:
            asked[str(pin)] = ",".join(found.metadata.get_all("Requires-Python", []))
    assert len(asked) > len(pins) / 2
    assert {pin: python for pin, python in asked.items() if oldest not in SpecifierSet(python)} == {}

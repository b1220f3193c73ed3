"""The public package: what it offers, what it costs to import, and what may not hide it."""

import subprocess
import sys
from pathlib import Path

import pytest

import ictc

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("name", ictc.__all__)
def test_every_public_name_is_there(name: str) -> None:
    """Each name that the package lists can be used, and says what it is."""
    assert getattr(ictc, name).__doc__


def test_unknown_name_lists_the_known_ones() -> None:
    """A name that is not there raises AttributeError with those that are."""
    with pytest.raises(AttributeError, match=r"no 'Klassifier'; it has Classification"):
        ictc.Klassifier  # noqa: B018


def test_version_is_the_distributions() -> None:
    """The version is that of the installed distribution."""
    assert ictc.__version__[0].isdigit()


def test_import_loads_neither_torch_nor_numpy() -> None:
    """Importing the package costs nothing until a name is used."""
    code = "import sys, ictc; sys.exit(bool({'torch', 'numpy', 'confluent_kafka'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_model_of_somebody_else_is_refused_by_name(tmp_path: Path) -> None:
    """A user's own model.py that hides the package 'model' is named in the error, with the remedy."""
    (tmp_path / "model.py").write_text("x = 1\n")
    code = f"import sys; sys.path[:0] = [{str(tmp_path)!r}, {str(ROOT)!r}]; import ictc"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert f"{tmp_path / 'model.py'} under that name: rename that file" in done.stderr

"""The simulator's own hash: of everything that draws, of nothing that only looks or tells."""

from pathlib import Path

import model
from model.simulation.identity import DRAWERS, hash_of_files, imported_sources, simulator_hash, without_words

SOURCE = '''"""A module."""

LIMIT = 3  # a limit


def area(side: float) -> str:
    """Area of a square.

    It has # no comment.
    """
    # a reason
    shown = "# not a comment"
    return f"{side**2} {shown}"
'''
BARE = '''LIMIT = 3
def area(side: float) -> str:
    shown = "# not a comment"
    return f"{side**2} {shown}"'''


def test_the_hash_is_of_names_and_contents(tmp_path: Path) -> None:
    """Order and place do not matter; a name and a byte do."""
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        for name, content in (("one.py", "1"), ("two.json", "2")):
            (tmp_path / folder / name).write_text(content)
    first, second = (sorted((tmp_path / folder).iterdir()) for folder in ("a", "b"))
    whole = hash_of_files(first, tmp_path / "a")
    assert hash_of_files(second[::-1], tmp_path / "b") == whole
    second[0].write_text("3")
    assert hash_of_files(second, tmp_path / "b") != whole
    assert hash_of_files(first[:1], tmp_path / "a") != whole


def test_words_are_not_part_of_the_hash(tmp_path: Path) -> None:
    """Docstrings and comments may change; a number or a shown text may not."""
    path = tmp_path / "area.py"

    def hashed(source: str) -> str:
        path.write_text(source)
        return hash_of_files([path], tmp_path)

    assert without_words(SOURCE) == BARE and without_words(BARE) == BARE
    assert hashed(SOURCE) == hashed(BARE)
    for old, new in (("**2", "**3"), ("= 3", "= 4"), ('"# not', '"# never')):
        assert hashed(SOURCE.replace(old, new)) != hashed(SOURCE)


def test_what_draws_is_found_by_its_imports() -> None:
    """Everything from the physics to the file format is in it; commands and checks are not."""
    folder = Path(model.__file__).parent
    names = {path.relative_to(folder).as_posix() for path in imported_sources(folder, DRAWERS)}
    assert names >= {
        "clock.py",
        "data/format.py",
        "data/writer.py",
        "past_photometry.py",
        "series.py",
        "simulation/alerts/ztf.py",
        "simulation/images/render.py",
        "simulation/sky/intrinsic.py",
        "simulation/sources/templates.py",
        "simulation/survey/schedule.py",
        "taxonomy.py",
    }
    assert not [name for name in names if "cli" in name or "sdss/" in name or "validation" in name or "look" in name]


def test_the_simulator_has_one_short_hash() -> None:
    """It is the same whenever it is asked for."""
    assert len(simulator_hash()) == 12 and simulator_hash() == simulator_hash()

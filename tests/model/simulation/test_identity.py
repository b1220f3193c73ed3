"""The simulator's own hash: of everything that draws, of nothing that only looks."""

from pathlib import Path

from model.simulation.identity import hash_of_files, simulator_hash


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


def test_the_simulator_has_one_short_hash() -> None:
    """It is the same whenever it is asked for."""
    assert len(simulator_hash()) == 12 and simulator_hash() == simulator_hash()

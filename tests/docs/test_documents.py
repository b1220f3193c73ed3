"""The front door and the pages that are made from the program."""

import importlib.util
import json
import re
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from broker_filter.config import Settings
from broker_filter.output import formats
from model.data.checked import open_checked

LINES, CHARACTERS = 130, 120


@pytest.fixture(scope="module")
def generated(repo_root: Path) -> ModuleType:
    """The module that makes the pages; it stands beside them, in no package."""
    spec = importlib.util.spec_from_file_location("generated_pages", repo_root / "docs" / "generated.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_the_readme_can_be_read(repo_root: Path):
    """It is short, its lines fit a window, and every file it links to is there."""
    text = (repo_root / "README.md").read_text("utf-8")
    lines = text.splitlines()
    assert len(lines) <= LINES
    assert max(map(len, lines)) <= CHARACTERS
    for target in re.findall(r"\]\(([^)#]+)\)", text):
        assert target.startswith("https://") or (repo_root / target).exists(), target


def test_the_pages_way_to_write_a_data_set_works(repo_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """What the page of training shows writes a data set that opens."""
    page = (repo_root / "docs" / "training.md").read_text("utf-8")
    (code,) = (block for block in re.findall(r"```python\n(.*?)```", page, re.S) if "DatasetWriter(" in block)
    rng = np.random.default_rng(1)
    mine = [
        SimpleNamespace(
            stamps_njy=rng.normal(0, 1e6, (2, 3, 63, 63)), bands="gr", mjd=[60000.1, 60003.2], flux_njy=[1e5, np.nan],
            error_njy=[1e3, np.nan], label=label, split=split, subtype=label,
        )
        for label in ("AGN", "SNIa", "Variable", "SNOther") for split in ("train", "test")
    ]  # fmt: skip
    monkeypatch.chdir(tmp_path)
    exec(code, {"my_objects": mine})
    dataset = open_checked("data/mine")
    assert len(dataset) == len(mine) and set(dataset.splits) == {"train", "test"}
    pixels = dataset.series(0).pixels_TCHW * dataset.series(0).scale_TC[..., None, None]
    np.testing.assert_allclose(pixels, mine[0].stamps_njy, rtol=2e-3, atol=1e3)


def test_every_setting_is_explained(generated: ModuleType):
    """The page of settings has each with a meaning and a default."""
    rows = dict(re.findall(r"^\| `([a-z_]+\.[a-z_0-9]+)` \| ([^|]*) \|", generated.configuration(), re.M))
    settings = {f"{name}.{key}" for name, of in Settings.model_fields.items() for key in of.annotation.model_fields}
    assert set(rows) == settings
    assert all(meaning.strip() for meaning in rows.values())


def test_every_field_of_the_output_is_listed(generated: ModuleType):
    """The page of the output has each field of the schema that is published."""
    page = generated.output_format()
    fields = [field["name"] for field in json.loads(formats.schema_text(formats.LEAN_SCHEMA))["fields"]]
    assert [name for name in fields if f"| `{name}` |" not in page] == []


def test_every_command_and_module_is_listed(generated: ModuleType, repo_root: Path):
    """The page of commands has each command's help, the page of modules each file's first line."""
    commands, modules = generated.commands(), generated.modules()
    for name in ("broker", "replay", "inspect", "train"):
        assert f"## ictc {name}" in commands
        assert f"usage: ictc-{name} " in commands
    for path in (repo_root / "broker_filter" / "alerts").glob("[!_]*.py"):
        assert f"| `{path.stem}` |" in modules

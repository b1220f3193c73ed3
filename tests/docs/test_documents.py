"""The front door and the pages that are made from the program."""

import importlib.util
import json
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

from broker_filter.config import Settings
from broker_filter.output import formats

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

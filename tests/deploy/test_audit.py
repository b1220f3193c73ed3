"""The audit of pinned versions, fed with what pip-audit writes."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

FOUND = {
    "name": "left",
    "version": "1.0",
    "vulns": [{"id": "PYSEC-1", "aliases": ["CVE-2026-1"], "fix_versions": ["1.1"]}],
}
CLEAN = {"name": "right", "version": "2.0", "vulns": []}
SKIPPED = {"name": "odd", "skip_reason": "not found"}


@pytest.fixture
def audit(repo_root: Path) -> ModuleType:
    """The script as a module."""
    spec = importlib.util.spec_from_file_location("audit", repo_root / "deploy" / "audit.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("packages", "strict", "status"),
    [([CLEAN], True, 0), ([CLEAN, FOUND], False, 1), ([CLEAN, SKIPPED], False, 0), ([CLEAN, SKIPPED], True, 1)],
)
def test_status_says_whether_something_must_be_done(audit, capsys, packages, strict, status):
    """A vulnerability fails the lint; a package that could not be asked for fails the strict audit alone."""
    assert audit.report(packages, strict) == status
    out, err = capsys.readouterr()
    assert out.startswith(f"audit: {len(packages)} pinned versions")
    assert ("left 1.0: PYSEC-1, CVE-2026-1; mended in 1.1" in err) == (FOUND in packages)


@pytest.mark.slow
def test_an_audit_that_cannot_be_made_says_so(audit, capsys, tmp_path):
    """Without a readable list of versions nothing is claimed to be sound."""
    flags = ["--constraints", str(tmp_path / "absent.txt")]
    assert (audit.main(flags), audit.main([*flags, "--strict"])) == (0, 1)
    out, err = capsys.readouterr()
    assert "audit: not done" in err
    assert out == ""

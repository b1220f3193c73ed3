"""The validation command: every check is printed, failures show, and the same seed gives the same bytes."""

import io
from pathlib import Path

import pytest
from rich.console import Console

from model.simulation.cli import main
from model.simulation.surveys import SURVEYS
from model.simulation.validation import Check, skipped, validate, validation_report

CHECKS = [
    Check(1, "nights per object", "19 +-10 %", "19", True),
    Check(12, "AUC of <real> & simulated", "< 0.75", "0.9", False),
    skipped(7, "hosts", "no real data"),
]


def test_the_table_names_number_target_and_value() -> None:
    """Each row has its number, what was asked, what was found and the verdict."""
    out = io.StringIO()
    validate.print_table(CHECKS, Console(file=out, width=160))
    text = out.getvalue()
    assert "nights per object" in text and "19 +-10 %" in text and "pass" in text
    assert "FAIL" in text and "skipped: no real data" in text


def test_the_same_seed_gives_the_same_bytes_without_network() -> None:
    """Objects of all surveys are equal in one process and in two, and no socket is opened."""
    checks = list(validate.determinism_checks(seed=3, objects_per_class=3))
    assert [check.number for check in checks] == [13, 13]
    assert all(check.passed for check in checks), checks


def test_the_page_holds_every_check_and_its_plots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The report is one HTML file, escaped, with the plots inside."""
    monkeypatch.setattr(validation_report, "SCHEDULES", 5)
    monkeypatch.setattr(validation_report, "SUPERNOVAE", 3)
    monkeypatch.setattr(validation_report, "SURVEYS", {"ztf": SURVEYS["ztf"]})
    validation_report.write_report(CHECKS, "1 passed, 1 failed", 1, tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert "AUC of &lt;real&gt; &amp; simulated" in page and 'class="fail"' in page
    assert page.count("data:image/png;base64,") >= 2 + 4
    assert "http" not in page.split("base64,", 1)[0]  # nothing is loaded from elsewhere


def test_the_status_tells_a_failure(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """``validate`` ends with 1 when a check fails, with 0 when none does; a missing folder is misuse."""
    for checks, status in ((CHECKS, 1), (CHECKS[:1] + CHECKS[2:], 0)):
        monkeypatch.setattr(validate, "physics_checks", lambda *args, checks=checks: iter(checks))
        monkeypatch.setattr(validate, "image_checks", lambda *args: iter(()))
        monkeypatch.setattr(validate, "determinism_checks", lambda *args: iter(()))
        assert main(["validate", "--quick"]) == status
    assert "1 passed, 0 failed, 1 skipped (quick, seed 1" in capsys.readouterr().out
    assert main(["validate", "--real", "/nonexistent"]) == 2

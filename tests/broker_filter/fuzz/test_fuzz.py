"""Hostile inputs, some hundred of each target; ``make fuzz`` tries millions."""

from pathlib import Path
from random import Random

import pytest
from fuzz_targets import FindingError, answer, mutated, seeds, targets
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from broker_filter.alerts import stamp

NAMES = list(targets(Path()))


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
@given(rng=st.randoms(use_true_random=False))
def test_hostile_inputs_are_answered(tmp_path: Path, name: str, rng: Random) -> None:
    """Every input is read or refused with a reason that was foreseen, in a moment."""
    assert targets(tmp_path)[name](rng) in ("read", "rejected", "not made")


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_targets_reach_both_answers(tmp_path: Path, name: str) -> None:
    """Each target makes inputs that are read and inputs that are refused: an attack that is always refused is none."""
    attack, rng = targets(tmp_path)[name], Random(1)
    assert {"read", "rejected"} <= {attack(rng) for _ in range(150)}


def test_real_packets_too(shared_data: Path) -> None:
    """Real packets with changed bytes are answered."""
    packets = [path.read_bytes() for path in sorted((shared_data / "alerts/ztf").rglob("*.avro"))[::80]]
    rng = Random(2)
    for packet in packets:
        for _ in range(10):
            answer(mutated(packet, rng))


def test_findings_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """A failure that nobody foresaw is a finding of the attack, although the service would go on."""

    def fails(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(stamp, "primary_image", fails)
    with pytest.raises(FindingError, match="ZeroDivisionError"):
        answer(seeds()[0])

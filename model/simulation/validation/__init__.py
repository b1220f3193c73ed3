"""Numbered checks of the simulated sky against the real one, each with its target and its value."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Check:
    """One row of the validation table."""

    number: int  # as in the specification of the simulator
    statistic: str
    target: str
    value: str
    passed: bool | None  # None: skipped, ``value`` says why


def within(value: float, target: float, tolerance: float) -> bool:
    """Whether a value lies within an absolute tolerance of its target."""
    return abs(value - target) <= tolerance


def skipped(number: int, statistic: str, reason: str) -> Check:
    """A row for a check that could not be made."""
    return Check(number, statistic, "", f"skipped: {reason}", None)

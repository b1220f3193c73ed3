"""The checks of everything that exists before pixels: 1, 2, 5, 6, 7, 8, 9 and 10 of the specification."""

from collections.abc import Iterator
from pathlib import Path

from model.simulation.validation import Check
from model.simulation.validation.physics.colour_checks import colour_checks
from model.simulation.validation.physics.leaks import leak_checks
from model.simulation.validation.physics.persistent import persistent_checks
from model.simulation.validation.physics.schedules import schedule_checks
from model.simulation.validation.physics.supernovae import supernova_checks


def physics_checks(shared: Path | None = None, seed: int = 1, share: float = 1.0) -> Iterator[Check]:
    """Make every check.

    Parameters
    ----------
    shared
        Folder of real data; checks that need it are skipped, with the reason, without it.
    share
        Of the full number of objects; statistical tolerances widen as its inverse square root. 1 takes minutes.
    """
    yield from schedule_checks(seed, max(round(1000 * share), 100))
    yield from supernova_checks(seed, max(round(1500 * share), 200))
    yield from colour_checks(seed, shared)
    yield from persistent_checks(seed, max(round(1000 * share), 200), shared)
    yield from leak_checks(seed, share, shared)

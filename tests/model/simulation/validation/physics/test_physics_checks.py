"""The validation checks of everything before pixels, on a tenth of the objects."""

import os
from pathlib import Path

import numpy as np
import pytest

from model.simulation.validation.physics.colour_checks import colour_checks
from model.simulation.validation.physics.leaks import quantile_ks
from model.simulation.validation.physics.physics_checks import physics_checks


@pytest.fixture(scope="module")
def checks(repo_root):
    folder = Path(os.environ.get("ICTC_SHARED_DATA", repo_root.parent / "shared" / "data"))
    return list(physics_checks(folder if folder.is_dir() else None, seed=1, share=0.1))


def test_every_check_of_the_physics_passes(checks):
    """Cadence, depth, supernovae, quasars, RR Lyrae, hosts and leaks are within their targets."""
    failed = [f"{c.number}. {c.statistic}: {c.value}, target {c.target}" for c in checks if c.passed is False]
    assert not failed, "\n".join(failed)


def test_all_numbered_checks_are_made(checks):
    """The eight checks that need no pixels are all there, those without data say why they were skipped."""
    assert {c.number for c in checks} == {1, 2, 5, 6, 7, 8, 9, 10}
    assert all(c.value.startswith("skipped: ") for c in checks if c.passed is None)


def test_colours_of_nearby_supernovae_are_those_published():
    """Median g - r in ZTF without dust, near maximum and a month later, for three kinds of core collapse."""
    by_statistic = {check.statistic: check for check in colour_checks(seed=0, shared=None) if check.passed is not None}
    assert len(by_statistic) == 6 and all(check.passed for check in by_statistic.values()), by_statistic


def test_a_sample_is_compared_with_quantiles():
    """A sample of the same distribution is likely, a shifted one is not."""
    rng = np.random.default_rng(1)
    percentiles, normal = [5, 25, 50, 75, 95], [-1.645, -0.674, 0.0, 0.674, 1.645]
    assert quantile_ks(rng.standard_normal(500), percentiles, normal, 1000) > 0.01
    assert quantile_ks(rng.standard_normal(500) + 0.4, percentiles, normal, 1000) < 0.001

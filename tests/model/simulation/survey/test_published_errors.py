"""The errors that ZTF publishes."""

import numpy as np
import pytest

from model.simulation.survey.published_errors import ztf_error
from model.simulation.surveys import flux_njy


def test_errors_are_those_of_real_alerts():
    """At 0.75, 2.25 and 6 mag above the limit real alerts without a star below have S/N near 7.5, 15 and 40."""
    background = np.array(1.0)
    errors = [
        float(x / ztf_error(np.array(x), np.array(0.0), background))
        for x in 5 * 10 ** (0.4 * np.array([0.75, 2.25, 6]))
    ]
    assert errors == pytest.approx([7.5, 15, 40], rel=0.15)


def test_a_star_below_costs_precision():
    """The same change is measured worse over brighter light, in whatever unit."""
    for unit in (1.0, 700.0):
        error = ztf_error(np.full(3, 20.0 * unit), unit * flux_njy(np.array([99.0, 27.0, 23.0])), np.full(3, unit))
        assert error[0] < error[1] < error[2]
    np.testing.assert_allclose(ztf_error(np.array(-20.0), np.array(0), np.array(1)), ztf_error(np.array(20.0), 0, 1))

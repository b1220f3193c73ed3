"""What hides behind a label."""

from collections import Counter

import numpy as np
import pytest

from model.simulation.sky import labels
from model.taxonomy import load_taxonomy


@pytest.fixture
def rng():
    return np.random.default_rng(12)


def test_spectroscopic_labels_are_true(rng):
    """Without photometric labels the true class is the label, in every mode."""
    for mode in labels.MODES:
        for label in labels.CLASSES:
            assert labels.compose(rng, label, mode, "spec", True).true_class == label


def test_photometric_supernovae_are_often_something_else(rng):
    """More than half of the photometric SNOther are nuclei, almost all photometric SNIa are SNIa."""
    drawn = {
        label: Counter(labels.compose(rng, label, "sdss_label", "photo", True).true_class for _ in range(4000))
        for label in ("SNIa", "SNOther")
    }
    assert drawn["SNOther"]["AGN"] / 4000 == pytest.approx(0.69 * 1628 / 2041, abs=0.03)
    assert drawn["SNIa"]["SNIa"] / 4000 > 0.93
    assert drawn["SNIa"]["SNIa"] < 4000


def test_wrong_labels_can_be_switched_off(rng):
    """Below level 4 the photometric sample keeps its faint hosts and has true labels."""
    drawn = [labels.compose(rng, "SNOther", "sdss_label", "photo", False) for _ in range(300)]
    assert {c.true_class for c in drawn} == {"SNOther"}
    assert {c.population for c in drawn} == {"pSNII", "zSNII", "SNIbc"}


def test_deconfounded_classes_share_one_pool_of_hosts(rng):
    """The population behind every class is the same."""
    pools = {labels.compose(rng, label, "deconfounded", "spec", True).population for label in labels.CLASSES}
    assert len(pools) == 1


def test_seasons_depend_on_the_class_only_where_they_really_do(rng):
    """The first autumn holds most Variables in ``sdss_label``, a third of them otherwise."""
    share = {m: np.mean([labels.season(rng, "Variable", m) == 0 for _ in range(3000)]) for m in labels.MODES}
    assert share["sdss_label"] == pytest.approx(0.72, abs=0.03)
    assert share["physical"] == pytest.approx(1 / 3, abs=0.03)
    assert share["deconfounded"] == pytest.approx(1 / 3, abs=0.03)


def test_variables_are_stars_only_when_labels_are_physical(rng):
    """By the labels of SDSS a bright Variable is a badly subtracted galaxy and a faint one mostly a quasar."""
    assert labels.kind_of_variable(rng, "physical", True, 20.5) == "Star"
    assert labels.kind_of_variable(rng, "sdss_label", True, 17.0) == "Residual"
    assert labels.kind_of_variable(rng, "sdss_label", False, 17.0) == "Star"
    faint = Counter(labels.kind_of_variable(rng, "sdss_label", True, 21.0) for _ in range(1000))
    assert faint["AGN"] > 850


def test_every_class_that_can_be_drawn_has_a_code_of_the_taxonomy():
    """The names of the simulator are those of the taxonomy file, and every subtype leads to its code."""
    taxonomy = load_taxonomy()
    assert taxonomy.classes == labels.CLASSES
    codes = taxonomy.codes
    assert {*labels.CLASSES, *labels.SUBTYPES_OF_SNOTHER, *labels.EXTENSIONS} == set(codes) - set(taxonomy.groups)
    assert labels.elasticc_code("IIP") == codes["SNII"] == 2224
    assert labels.elasticc_code("RRc") == 2323
    assert labels.elasticc_code("TDE") == 2243


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (("Nova", "physical", "spec"), "class is 'Nova'"),
        (("AGN", "real", "spec"), "label mode is 'real'"),
        (("AGN", "physical", "all"), "sample is 'all'"),
    ],
)
def test_unknown_names_are_refused(request_, message):
    """The error names the value and the choices."""
    with pytest.raises(ValueError, match=message):
        labels.check_request(*request_)

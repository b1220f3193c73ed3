"""The image checks pass on a small share, and say why they are skipped where the real data are not."""

from pathlib import Path

import numpy as np
import pytest

from model.simulation.validation.images import image_checks
from model.simulation.validation.stamps import real_ztf, stamp_features
from model.simulation.validation.stamps.real_or_simulated import families


def test_photometry_psf_and_flux_are_as_asked_for():
    """Checks 3 and 4 pass on a small share of the stamps; checks 11 and 12 are skipped without real alerts."""
    checks = list(image_checks(seed=1, share=0.1, shared=None))
    assert [c for c in checks if c.number in (3, 4) and not c.passed] == []
    assert {c.number: c.passed for c in checks if c.number > 4} == {11: None, 12: None}


def test_features_do_not_depend_on_the_unit():
    """Multiplying a triplet by any factor, or adding a background, changes no feature but the sky's level."""
    rng = np.random.default_rng(0)
    triplet = rng.standard_normal((1, 3, 63, 63)).astype(np.float32)
    names, first = stamp_features.table(triplet)
    _, second = stamp_features.table(triplet * 50)
    np.testing.assert_allclose(first, second, rtol=1e-3, atol=1e-4)
    assert first[0, names.index("science lag x")] == pytest.approx(0, abs=0.06)


def test_features_bear_masks_and_constant_channels():
    """Masked pixels and a template without noise give finite numbers or NaN, never an exception."""
    triplet = np.random.default_rng(0).standard_normal((1, 3, 63, 63)).astype(np.float32)
    triplet[:, :, :20] = np.nan
    triplet[:, 1] = 7.0
    names, features = stamp_features.table(triplet)
    assert features[0, names.index("masked")] == pytest.approx(20 / 63)


def test_stamps_that_share_anything_are_one_family():
    """Stamps tied by an object, an exposure or a template, or by another stamp between them, stay together."""
    objects, exposures, templates = list("aabcdd"), [1, 2, 2, 3, 4, 5], list("tuvwxt")
    family_N = families(objects, exposures, templates)
    assert family_N[0] == family_N[1] == family_N[2] == family_N[4] == family_N[5]
    assert len(np.unique(family_N)) == 2
    assert len(np.unique(families(exposures))) == 5


def test_real_alerts_are_read_whole(shared_data):
    """All 817 real alerts are read, of 640 objects; 26 of them have cut stamps, 446 share an exposure."""
    real = real_ztf.read(shared_data / "alerts" / "ztf")
    assert real.pixels_NCHW.shape == (817, 3, 63, 63)
    assert (~real.whole_N).sum() == 26
    assert set(real.band_N) == {1, 2}
    assert len(np.unique(real.object_N)) == 640
    _, of_exposure_N = np.unique(real.exposure_N, return_inverse=True)
    assert (np.bincount(of_exposure_N)[of_exposure_N] > 1).sum() == 446


def test_a_folder_without_alerts_is_refused(tmp_path: Path):
    """An empty folder is an error that names it."""
    with pytest.raises(FileNotFoundError, match=str(tmp_path)):
        real_ztf.read(tmp_path)

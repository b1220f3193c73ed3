"""The networks of the published table: their published sizes, and manners that comparisons rely on."""

import dataclasses
import json

import numpy as np
import pytest
import torch

from model.networks import registry
from model.networks.contract import collate
from model.networks.grouped import GroupedNetwork, cut_groups
from model.networks.nightly_photometry import measure_photometry, tabulate
from model.networks.scone import DAYS, DAYS_BEFORE_PEAK, WAVELENGTHS, heatmap
from model.series import BANDS, Series
from model.serving.predictor import Predictor

SMALL_CNN = {"network": "cnn_rnn", "size": 16, "width": 0.125, "vector_width": 16, "recurrent_width": 16}
ALL = [
    SMALL_CNN,
    SMALL_CNN | {"cell": "lstm"},
    {"network": "sits_bert", "width": 32},
    {"network": "scone"},
    {"network": "supernnova"},
    {"network": "supernnova", "bayesian": True, "draws": 3},
    {"network": "lstm"},
]
LIGHT_CURVE = ALL[2:]


def make_series(length: int, seed: int = 0, size: int = 16) -> Series:
    rng = np.random.default_rng(seed)
    night = np.sort(rng.integers(0, max(2, length // 2), length)) * 4.0
    return Series(
        rng.normal(size=(length, 1, size, size)).astype(np.float16),
        rng.uniform(50, 500, (length, 1)).astype(np.float32),
        rng.integers(0, 5, length).astype(np.int8),
        55_000.1 + night + np.arange(length) * 1e-3,
        rng.normal(8000, 4000, length).astype(np.float32),
        rng.uniform(200, 900, length).astype(np.float32),
    )


def build(config: dict, seed: int = 1) -> GroupedNetwork:
    torch.manual_seed(seed)
    return registry.build(config).eval()


@pytest.mark.parametrize(
    ("config", "count"),
    [
        ({"network": "cnn_rnn"}, 1_992_756),
        ({"network": "cnn_rnn", "cell": "lstm"}, 1_992_756 + 197_120),
        ({"network": "sits_bert"}, 595_716),
        ({"network": "scone"}, 22_540),
        ({"network": "scone", "class_count": 6}, 22_606),
        ({"network": "supernnova"}, 44_804),
        ({"network": "supernnova", "bayesian": True}, 89_604),
        ({"network": "lstm"}, 60_292),
    ],
)
def test_published_sizes(config, count):
    """Each comparator has the number of parameters that its paper, code or the published table gives."""
    assert sum(p.numel() for p in build(config).parameters()) == count


@pytest.mark.parametrize("config", ALL, ids=str)
def test_company_does_not_matter(config):
    """A series has the same logits alone and beside longer ones, to 1e-5; also without any frame they are finite."""
    network = build(config)
    batch = [make_series(n, n) for n in (7, 1, 20)]
    with torch.no_grad():
        together = network(collate(batch))
        for row, series in enumerate(batch):
            assert torch.allclose(network(collate([series]))[0], together[row], atol=1e-5)
        assert torch.isfinite(network(collate([batch[0], batch[0][:0]]))).all()


@pytest.mark.parametrize("config", ALL, ids=str)
def test_embed_and_classify_are_the_network(config):
    """Classifying kept embeddings equals the whole pass to 1e-5."""
    network = build(config)
    frames = collate([make_series(9)])
    with torch.no_grad():
        groups, _ = cut_groups(frames, network.group_size)
        embeddings = network.embed(groups).unflatten(0, (1, -1))
        assert torch.allclose(network.classify(embeddings, frames.curve), network(frames), atol=1e-5)


@pytest.mark.parametrize("config", ALL, ids=str)
def test_every_parameter_learns(config):
    """A training step gives every parameter a finite gradient, and the configuration survives JSON."""
    network = build(config).train()
    frames = collate([make_series(12, seed=s) for s in range(4)])
    loss = network.head(network.features(frames)).logsumexp(1).sum()
    extra = network.extra_loss()
    (loss if extra is None else loss + extra).backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
    assert registry.build(json.loads(json.dumps(registry.describe(network)))).config == network.config


@pytest.mark.parametrize("config", LIGHT_CURVE, ids=str)
def test_light_curve_networks_see_no_pixels(config):
    """Pixels change nothing, fluxes do."""
    network, series = build(config), make_series(8)
    blind = dataclasses.replace(series, pixels_TCHW=series.pixels_TCHW * 0)
    # A steeper light curve: SCONE divides by the largest flux, so a common factor would not show.
    brighter = dataclasses.replace(series, flux_T=series.flux_T * np.linspace(0.2, 3, 8).astype(np.float32))
    with torch.no_grad():
        before = network(collate([series]))
        assert torch.equal(before, network(collate([blind])))
        assert not torch.allclose(before, network(collate([brighter])), atol=1e-5)


def test_recurrent_prefixes_in_one_pass():
    """CNN+RNN gives the logits after each frame in one pass, equal to those of each prefix to 1e-5."""
    network, series = build(SMALL_CNN), make_series(6)
    with torch.no_grad():
        at_once = network.prefix_logits(collate([series]))[0]
        for t in range(6):
            assert torch.allclose(at_once[t], network(collate([series[: t + 1]]))[0], atol=1e-5)


def test_folding_keeps_the_answer():
    """Folding the normalisation of the CNN for inference changes logits by less than 1e-5."""
    network = build(SMALL_CNN)
    network.train()(collate([make_series(10, seed=s) for s in range(4)]))
    network.eval()
    frames = collate([make_series(5)])
    before = network(frames)
    network.prepare_for_inference()
    assert torch.allclose(network(frames), before, atol=1e-5)


@pytest.mark.parametrize("config", ALL, ids=str)
def test_every_comparator_can_be_served(config):
    """The predictor serves comparators as it serves our networks."""
    settings = {key: value for key, value in config.items() if key != "network"}
    predictor = Predictor.untrained("sdss", config["network"], **settings)
    series = make_series(4, size=predictor.card.size_px)
    vectors = predictor.embed([series[i : i + 1] for i in range(4)])
    assert np.allclose(predictor.classify([vectors], [series]).probabilities.sum(), 1)


def test_bayesian_draws():
    """In training every pass differs, in eval none does, and the divergence grows with distance from the prior."""
    network = build({"network": "supernnova", "bayesian": True, "draws": 3})
    frames = collate([make_series(6)])
    with torch.no_grad():
        assert torch.equal(network(frames), network(frames))
        assert torch.allclose(network(frames).exp().sum(1), torch.ones(1), atol=1e-5)
        network.train()
        assert not torch.equal(network(frames), network(frames))
        near = network.extra_loss()
        for mean in network.recurrent.mean.values():
            mean.add_(5.0)
        network(frames)
        assert network.extra_loss() > near


def test_nights_are_tabulated():
    """Frames of one night share a row: the weighted mean, or the best; other bands and unknown fluxes stay out."""
    series = Series(
        np.zeros((6, 1, 2, 2), np.float16),
        np.ones((6, 1), np.float32),
        np.array([1, 1, 2, 1, 5, 2], np.int8),
        60_000.0 + np.array([0.0, 0.01, 0.02, 3.0, 3.01, 3.02]),
        np.array([10.0, 20.0, 5.0, 7.0, 99.0, np.nan], np.float32),
        np.array([1.0, 2.0, 1.0, 1.0, 1.0, 1.0], np.float32),
    )
    series = dataclasses.replace(series, flux_error_T=np.where(np.isnan(series.flux_T), np.nan, series.flux_error_T))
    curve = collate([series]).curve
    mean, best = (tabulate(curve, "ugriz", best=best) for best in (False, True))
    assert mean.mask_BN.tolist() == [[True, True]]
    host = (10 / 1 + 20 / 4 + 7 / 1) / (1 + 1 / 4 + 1)  # weighted mean of the band: taken off
    assert mean.flux_BNL[0, 0].tolist() == pytest.approx([0, 12 - host, 0, 0, 0], abs=1e-5)
    assert best.flux_BNL[0, 0].tolist() == pytest.approx([0, 10 - host, 0, 0, 0], abs=1e-5)
    assert best.error_BNL[0, 0, 1] == pytest.approx(1)
    assert mean.measured_BNL[0].tolist() == [[False, True, True, False, False], [False, True, False, False, False]]
    assert mean.day_BN[0].tolist() == pytest.approx([0.01, 3.01], abs=1e-3)


def test_host_light_does_not_matter():
    """A constant added to all fluxes of a band changes no logits: the host is taken off."""
    series = make_series(9)
    hosted = dataclasses.replace(series, flux_T=series.flux_T + np.float32(50_000) * (series.band_T + 1))
    for config in LIGHT_CURVE:
        with torch.no_grad():
            network = build(config)
            assert torch.allclose(network(collate([series])), network(collate([hosted])), atol=2e-3)


def test_photometry_is_measured():
    """Standardisation constants come out as settings that the light-curve networks take."""
    measured = measure_photometry(collate([make_series(20, s) for s in range(20)]).curve)
    assert abs(measured["flux_mean_njy"][2]) < 1000  # of what is left without the host's 8000
    assert measured["flux_sigma_njy"][2] == pytest.approx(4000, rel=0.3)
    assert len(measured["flux_mean_njy"]) == len(BANDS)
    for config in LIGHT_CURVE:
        accepted = registry.accepted(config["network"], measured)
        registry.build(config | accepted)
    assert registry.accepted("scone", measured) == {}
    assert set(registry.accepted("supernnova", measured)) == {"log_flux", "log_error", "log_interval"}


def test_scone_picture_shows_the_light_curve():
    """The picture peaks at the brightest day, is one there, and is most certain where there are data."""
    day = np.repeat(np.arange(0.0, 80.0, 4.0), 3)
    band = np.tile([1.0, 2.0, 3.0], 20)
    flux = 20_000 * np.exp(-0.5 * ((day - 40) / 10) ** 2)
    mean, deviation = heatmap(day, band, flux, np.full(60, 200.0))
    assert mean.shape == (WAVELENGTHS, DAYS)
    assert mean.max() == pytest.approx(1)
    row = mean[WAVELENGTHS // 2 - 2]
    assert abs(int(row.argmax()) - DAYS_BEFORE_PEAK) <= 3
    assert row[0] == pytest.approx(0, abs=0.1)
    assert deviation[14, DAYS_BEFORE_PEAK] < deviation[-1, -1]


@pytest.mark.parametrize(("config", "message"), [({"cell": "rnn"}, "'gru' or 'lstm'"), ({"channels": 2}, "2 channels")])
def test_wrong_settings_are_named(config, message):
    """A wrong setting is an error that names what is allowed."""
    with pytest.raises(ValueError, match=message):
        registry.build(SMALL_CNN | config)

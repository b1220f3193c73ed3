"""Our own network: causal, masked, blind to the zero of time, and the same whether answered at once or step by step."""

import dataclasses

import numpy as np
import pytest
import torch
from torch import Tensor

from model.networks import registry
from model.networks.contract import LightCurve, collate
from model.networks.layers.flux_features import flux_features
from model.networks.vigil import Vigil, asinh
from model.past_photometry import History
from model.series import Series

SMALL = {
    "network": "vigil",
    "channels": 3,
    "size": 21,
    "filters": 4,
    "token_width": 32,
    "frame_limit": 20,
    "summary": True,
}


def make_series(length: int, seed: int = 0, size: int = 21, channels: int = 3) -> Series:
    rng = np.random.default_rng(seed)
    return Series(
        rng.normal(size=(length, channels, size, size)).astype(np.float16),
        rng.uniform(50, 500, (length, channels)).astype(np.float32),
        rng.integers(0, 6, length).astype(np.int8),
        60_000.0 + np.sort(rng.uniform(0, 90, length)),
        rng.normal(3000, 3000, length).astype(np.float32),
        rng.uniform(200, 900, length).astype(np.float32),
    )


def build(seed: int = 1, **settings) -> Vigil:
    torch.manual_seed(seed)
    network = registry.build(SMALL | settings)
    assert isinstance(network, Vigil)
    with torch.no_grad():  # lags matter from the start, so that tests would see them
        network.series_encoder.lag_bias.weight.normal_(std=1.0)
    return network.eval()


def logits(network: Vigil, series: Series) -> Tensor:
    with torch.no_grad():
        return network(collate([series]))[0]


def test_prefixes_in_one_pass():
    """The logits of every prefix in one pass equal classifying each prefix by itself to 1e-5."""
    network = build()
    batch = [make_series(9), make_series(6, seed=2)]
    frames = collate(batch)
    with torch.no_grad():
        at_once = network.prefix_logits(frames)
    for row, series in enumerate(batch):
        for t in range(len(series)):
            assert torch.allclose(at_once[row, t], logits(network, series[: t + 1]), atol=1e-5)


@pytest.mark.parametrize("switch", ["causal", "mask_padding"])
def test_prefixes_without_causality(switch):
    """Also without causal attention, or without a mask, a prefix knows nothing of what follows it."""
    network, series = build(**{switch: False}), make_series(5)
    frames = collate([series])
    with torch.no_grad():
        steps = network.prefix_logits(frames)[0]
    for t in range(5):
        assert torch.allclose(steps[t], logits(network, series[: t + 1]), atol=1e-5)


def test_padding_is_invisible():
    """Whatever stands in padded frames, and however many there are, the logits keep their bits to 1e-6."""
    network, series = build(), make_series(4)
    frames = collate([series, make_series(9, seed=5)])
    with torch.no_grad():
        embeddings = network.embed_series(frames)
        curve = frames.curve
        before = network.classify(embeddings, curve)[0]
        embeddings[0, 4:] = 7.0
        disturbed = LightCurve(
            curve.band_BT,
            curve.time_BT + 1000.0 * ~curve.mask_BT,
            curve.flux_BT + 1e6 * ~curve.mask_BT,
            curve.flux_error_BT + ~curve.mask_BT,
            curve.mask_BT,
        )
        after = network.classify(embeddings, disturbed)[0]
    assert torch.allclose(before, after, atol=1e-6)
    assert torch.allclose(before, logits(network, series), atol=1e-5)


def test_times_count_as_differences():
    """Moving all times changes nothing; stretching them does, unless times are switched off."""
    series = make_series(8)
    moved = dataclasses.replace(series, time_T=series.time_T + 500.0)
    stretched = dataclasses.replace(series, time_T=series.time_T[0] + 3 * (series.time_T - series.time_T[0]))
    network, timeless = build(), build(times=False)
    assert torch.allclose(logits(network, series), logits(network, moved), atol=1e-5)
    assert not torch.allclose(logits(network, series), logits(network, stretched), atol=1e-4)
    assert torch.equal(logits(timeless, series), logits(timeless, stretched))


def test_switches_take_their_information_away():
    """Without images, photometry or other channels, those no longer change the logits; with them, they do."""
    series = make_series(6)
    other_pixels = dataclasses.replace(series, pixels_TCHW=make_series(6, seed=8).pixels_TCHW)
    other_flux = dataclasses.replace(series, flux_T=series.flux_T * 2)
    difference = series.pixels_TCHW.copy()
    difference[:, 2] = other_pixels.pixels_TCHW[:, 2]
    other_difference = dataclasses.replace(series, pixels_TCHW=difference)
    for settings, disturbed in [
        ({"images": False}, other_pixels),
        ({"photometry": False}, other_flux),
        ({"use_channels": [0]}, other_difference),
    ]:
        assert torch.equal(logits(build(**settings), series), logits(build(**settings), disturbed))
        assert not torch.allclose(logits(build(), series), logits(build(), disturbed), atol=1e-5)


def test_embedding_depends_on_its_own_frame_only():
    """An embedding is the same bits alone or among others to 1e-6, and knows no time and no flux."""
    network, series = build(), make_series(6)
    with torch.no_grad():
        all_T = network.embed_series(collate([series]))[0]
        changed = dataclasses.replace(series, time_T=series.time_T * 2, flux_T=series.flux_T + 1)
        for t in range(6):
            assert torch.allclose(network.embed(collate([changed[t : t + 1]]))[0], all_T[t], atol=1e-6)


def test_sky_is_taken_off():
    """A constant added to all pixels, or pixels that were not observed, do not move the embedding."""
    network = build()
    series = make_series(1, channels=3)
    brighter = dataclasses.replace(series, pixels_TCHW=series.pixels_TCHW + np.float16(32))
    with torch.no_grad():
        plain, bright = (network.embed(collate([s])) for s in (series, brighter))
    assert torch.allclose(plain, bright, atol=2e-2)  # float16 rounds the sum
    blank = dataclasses.replace(series, pixels_TCHW=np.full_like(series.pixels_TCHW, np.nan))
    assert torch.isfinite(logits(network, blank)).all()


def test_empty_and_unmeasured_series_are_finite():
    """No frame, no flux or absurd values still give finite logits."""
    network, series = build(), make_series(3)
    unknown = dataclasses.replace(series, flux_T=np.full(3, np.nan, np.float32), flux_error_T=series.flux_error_T * 0)
    huge = dataclasses.replace(series, flux_T=np.full(3, 1e12, np.float32), scale_TC=series.scale_TC * 1e9)
    for odd in (unknown, huge):
        assert torch.isfinite(logits(network, odd)).all()
    frames = collate([series, series[:0]])
    assert torch.isfinite(network(frames)).all()


def test_flux_features_look_back_only():
    """Features of a frame do not change when later frames do, and a constant source shows no change."""
    series = make_series(7)
    curve = collate([series]).curve
    early = flux_features(collate([series[:4]]).curve)
    assert torch.allclose(flux_features(curve)[:, :4], early, atol=1e-6)
    constant = dataclasses.replace(series, flux_T=np.full(7, 500.0, np.float32), band_T=np.zeros(7, np.int8))
    features = flux_features(collate([constant]).curve)
    assert features[0, :, 3].abs().max() < 1e-3


def test_folding_keeps_the_answer():
    """Folding the normalisation for inference changes logits by less than 1e-5."""
    network = build()
    network.train()(collate([make_series(10, seed=s) for s in range(6)]))
    network.eval()
    before = logits(network, make_series(5))
    network.prepare_for_inference()
    assert torch.allclose(logits(network, make_series(5)), before, atol=1e-5)


def test_every_parameter_learns():
    """A step of training on prefixes gives every parameter a finite gradient."""
    network = build().train()
    frames = collate([make_series(12, seed=s) for s in range(4)])
    network.prefix_logits(frames).logsumexp(-1)[frames.curve.mask_BT].sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.abs().max() > 0, name


def test_wrong_settings_are_named():
    """A channel that does not exist, or heads that do not divide the width, are errors."""
    with pytest.raises(ValueError, match="use_channels"):
        build(use_channels=[3])
    with pytest.raises(ValueError, match="heads"):
        build(heads=5)


def test_fast_asinh_is_asinh():
    """Our asinh equals torch's to 2e-6 over fourteen decades of either sign."""
    x = torch.cat([torch.logspace(-8, 6, 500), -torch.logspace(-8, 6, 500), torch.zeros(1)])
    assert torch.allclose(asinh(x), torch.asinh(x), atol=2e-6)


def make_history(series: Series, count: int, seed: int = 0) -> History:
    """Detections and limits from a month before the series to its end."""
    rng = np.random.default_rng(seed)
    seen = rng.random(count) < 0.5
    return History(
        np.sort(rng.uniform(series.time_T[0] - 30, series.time_T[-1], count)),
        rng.integers(0, 6, count).astype(np.int8),
        np.where(seen, rng.normal(3000, 3000, count), 0.0).astype(np.float32),
        rng.uniform(200, 900, count).astype(np.float32),
    )


def test_epochs_without_stamp_are_read():
    """Detections that packets tell of change the answer; a network that reads none ignores them."""
    series = make_series(4)
    with_history = collate([series], histories=[make_history(series, 7)])
    reader, other = build(history_limit=16), build()
    with torch.no_grad():
        assert not torch.allclose(reader(with_history), reader(collate([series])), atol=1e-3)
        assert torch.equal(other(with_history), other(collate([series])))


def test_prefixes_with_history_read_nothing_later():
    """After every frame the answer is that to the frames and epochs up to it, alone or beside longer neighbours."""
    network = build(history_limit=16)
    batch = [make_series(8), make_series(5, seed=3)]
    histories = [make_history(batch[0], 12), make_history(batch[1], 3, seed=1)]
    with torch.no_grad():
        at_once = network.prefix_logits(collate(batch, histories=histories))
        for row, (series, history) in enumerate(zip(batch, histories, strict=True)):
            for t in range(len(series)):
                until = history[history.time_P <= series.time_T[t]]
                alone = network(collate([series[: t + 1]], histories=[until]))[0]
                torch.testing.assert_close(at_once[row, t], alone, rtol=0, atol=2e-5)


def test_no_history_and_an_empty_one_are_the_same():
    """A network that reads histories answers alike where nothing is told and where nothing is known of telling."""
    network, series = build(history_limit=16), make_series(3)
    with torch.no_grad():
        empty = network(collate([series], histories=[History.joined([])]))
        torch.testing.assert_close(empty, network(collate([series])), rtol=0, atol=1e-6)


def test_a_network_that_cannot_read_histories_says_so():
    """Epochs without stamp need causal order, photometry and masked padding."""
    with pytest.raises(ValueError, match="causal network with photometry"):
        build(history_limit=16, causal=False)

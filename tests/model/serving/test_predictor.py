"""What serves the networks: any batch gives the same answer, chunks are bounded, calibration and devices are honest."""

import dataclasses

import numpy as np
import pytest
import torch

from model.networks.contract import collate, collate_curve
from model.networks.layers.class_distance import ClassDistance
from model.past_photometry import NO_HISTORY, History
from model.series import Series
from model.serving import weights
from model.serving.card import UnknownScore, WeightsError
from model.serving.predictor import (
    CLASSIFY_ROWS,
    EMBED_ROWS,
    DeviceUnavailableError,
    Predictor,
    of_like_length,
    untrained,
)

SETTINGS = {
    "convention": {"width": 0.125, "size": 21, "frame_limit": 12},
    "vigil": {"filters": 4, "size": 21, "frame_limit": 12},
}
NETWORKS = sorted(SETTINGS)


def make_series(length: int, seed: int = 0) -> Series:
    rng = np.random.default_rng(seed)
    return Series(
        rng.normal(size=(length, 3, 21, 21)).astype(np.float16),
        rng.uniform(50, 500, (length, 3)).astype(np.float32),
        rng.integers(1, 4, length).astype(np.int8),
        60_000.0 + np.sort(rng.uniform(0, 90, length)),
        rng.normal(3000, 3000, length).astype(np.float32),
        rng.uniform(200, 900, length).astype(np.float32),
    )


def build(name: str, **options) -> Predictor:
    return Predictor.untrained("ztf", name, **SETTINGS[name], **options)


def embed_series(predictor: Predictor, series: Series) -> np.ndarray:
    return predictor.embed(series.groups(predictor.card.group_size))


@pytest.mark.parametrize("name", NETWORKS)
def test_probabilities_of_series_of_any_length(name):
    """Series of 1 to the limit of frames get float64 probabilities whose rows sum to one."""
    predictor = build(name)
    batch = [make_series(n, n) for n in range(1, 13)]
    prediction = predictor.classify([embed_series(predictor, s) for s in batch], batch)
    assert prediction.probabilities.shape == (12, 4)
    assert prediction.probabilities.dtype == np.float64
    assert np.allclose(prediction.probabilities.sum(1), 1, atol=1e-12)
    assert prediction.unknown is None


@pytest.mark.parametrize("name", NETWORKS)
def test_batch_does_not_matter(name):
    """A series has the same probabilities alone and in company, to 1e-5."""
    predictor = build(name)
    batch = [make_series(n, n) for n in (3, 12, 7)]
    vectors = [embed_series(predictor, s) for s in batch]
    together = predictor.classify(vectors, batch).probabilities
    alone = [predictor.classify([v], [s]).probabilities[0] for v, s in zip(vectors, batch, strict=True)]
    assert np.allclose(together, alone, atol=1e-5)


@pytest.mark.parametrize("name", NETWORKS)
def test_deterministic_mode_keeps_the_bits(name):
    """In the deterministic mode a row's bytes depend neither on its company nor on its place in the batch."""
    predictor = build(name, deterministic=True)
    batch = [make_series(1 + i % 12, i) for i in range(19)]
    size = predictor.card.group_size
    groups = [s[:size] for s in batch]
    alone = [predictor.embed([g])[0].tobytes() for g in groups]
    for order in (range(19), range(18, -1, -1), [5, 2, 11]):
        for index, row in zip(order, predictor.embed([groups[i] for i in order]), strict=True):
            assert row.tobytes() == alone[index]
    vectors = [embed_series(predictor, s) for s in batch]
    alone = [predictor.classify([v], [s]).probabilities[0].tobytes() for v, s in zip(vectors, batch, strict=True)]
    for order in (range(19), range(18, -1, -1), [5, 2, 11]):
        rows = predictor.classify([vectors[i] for i in order], [batch[i] for i in order]).probabilities
        for index, row in zip(order, rows, strict=True):
            assert row.tobytes() == alone[index]


def test_chunks_are_bounded(monkeypatch):
    """However many rows a caller hands over, no pass is larger than the stated limits."""
    predictor = build("vigil")
    seen = {"embed": 0, "classify": 0}
    network = predictor._network
    embed, classify = network.embed, network.classify

    def watch_embed(frames):
        seen["embed"] = max(seen["embed"], len(frames.scale_BTC))
        return embed(frames)

    def watch_classify(vectors, curve):
        seen["classify"] = max(seen["classify"], len(vectors))
        return classify(vectors, curve)

    monkeypatch.setattr(network, "embed", watch_embed)
    monkeypatch.setattr(network, "classify", watch_classify)
    series = make_series(1)
    vectors = predictor.embed([series] * 600)
    predictor.classify([vectors[:1]] * 600, [series] * 600)
    assert seen == {"embed": EMBED_ROWS, "classify": CLASSIFY_ROWS}


def test_passes_hold_series_of_like_length():
    """Every series is in one pass; passes go from short to long, bounded in rows and in pairs, or hold one series."""
    length_B = np.random.default_rng(1).integers(1, 90, 1000)
    passes = list(of_like_length(length_B, 5_000))
    assert sorted(np.concatenate(passes).tolist()) == list(range(1000))
    longest = [int(length_B[part].max()) for part in passes]
    assert longest == sorted(longest)
    assert all(len(part) * n**2 <= 5_000 or len(part) == 1 for part, n in zip(passes, longest, strict=True))
    assert max(map(len, passes)) <= CLASSIFY_ROWS
    assert all(len(part) == 1 for part in of_like_length(length_B, 0))
    assert list(of_like_length(length_B[:0], 5_000)) == []


def test_short_groups_are_padded():
    """A group of one or two frames is embedded as the start of a group of three."""
    predictor = build("convention")
    series = make_series(3)
    vectors = predictor.embed([series[:1], series[:2], series])
    assert vectors.shape[0] == 3
    assert not np.allclose(vectors[0], vectors[1])


def test_calibration_is_applied():
    """Temperature softens, offsets shift the classes, and the unknown score is finite."""
    network, card = untrained("ztf", "vigil", 1, **SETTINGS["vigil"])
    series = make_series(5)
    plain = Predictor(network, card)
    vectors = [embed_series(plain, series)]
    log_p = np.log(plain.classify(vectors, [series]).probabilities[0])
    score = UnknownScore(temperature=2.0, location=-3.0, scale=0.5)
    calibrated = dataclasses.replace(card, temperature=2.5, logit_offset=(0.0, 1.0, 0.0, -1.0), unknown=score)
    network, _ = untrained("ztf", "vigil", 1, **SETTINGS["vigil"])
    prediction = Predictor(network, calibrated).classify(vectors, [series])
    expected = np.exp((log_p + np.array([0, 1, 0, -1])) / 2.5)
    assert np.allclose(prediction.probabilities[0], expected / expected.sum(), atol=1e-6)
    assert prediction.unknown is not None
    assert np.isfinite(prediction.unknown).all()


def test_strangeness_comes_from_the_memory_of_training():
    """A network with a memory of training objects calls a series like them less strange than one unlike them."""
    network, card = untrained("ztf", "vigil", 1, **SETTINGS["vigil"])
    known = [make_series(5, seed=s) for s in range(8)]
    plain = Predictor(network, card)
    odd = dataclasses.replace(make_series(5), flux_T=np.full(5, 1e9, np.float32))
    with torch.inference_mode():
        features = network.features(collate(known))
    network.familiar = ClassDistance.of(features, torch.arange(8) % 4, 4)
    score = UnknownScore("energy_and_distance", distance_location=1.0, distance_scale=0.1)
    remembering = Predictor(network, dataclasses.replace(card, unknown=score))
    batch = [*known, odd]
    vectors = [embed_series(plain, series) for series in batch]
    prediction = remembering.classify(vectors, batch)
    assert prediction.unknown is not None
    assert prediction.unknown[:8].max() < prediction.unknown[8]
    assert np.allclose(prediction.probabilities, plain.classify(vectors, batch).probabilities, atol=1e-6)


def test_untrained_is_seeded_and_says_so():
    """The same seed gives the same bytes and version, another seed another version; the card says untrained."""
    one, two, other = build("vigil"), build("vigil"), build("vigil", seed=3)
    assert not one.card.trained
    assert one.card.version == two.card.version != other.card.version
    assert one.card.version.startswith("untrained-ztf-")
    series = make_series(2)
    assert embed_series(one, series).tobytes() == embed_series(two, series).tobytes()
    before = torch.get_rng_state()
    build("vigil")
    assert torch.equal(torch.get_rng_state(), before)


def test_saved_weights_serve_the_same(tmp_path):
    """What was saved and loaded gives the same probabilities, and carries its card."""
    network, card = untrained("ztf", "vigil", 4, **SETTINGS["vigil"])
    weights.save(tmp_path / "mine", network, dataclasses.replace(card, trained=True))
    loaded = Predictor.load(tmp_path / "mine.safetensors")
    series = make_series(6)
    fresh = Predictor(network, card)
    vectors = [embed_series(fresh, series)]
    ours = fresh.classify(vectors, [series]).probabilities
    assert loaded.card.trained
    assert loaded.card.classes == card.classes
    assert np.array_equal(loaded.classify([embed_series(loaded, series)], [series]).probabilities, ours)


def test_absent_device_is_an_error():
    """A device that is not there is refused by name; nothing falls back to the processor."""
    with pytest.raises(DeviceUnavailableError, match="choose"):
        build("vigil", device="tpu-of-dreams")
    with pytest.raises(DeviceUnavailableError, match="cuda:99"):
        build("vigil", device="cuda:99")


def test_wrong_embeddings_are_refused():
    """Vectors that do not belong to the series, and series over the limit, are errors that say so."""
    predictor = build("vigil")
    series = make_series(4)
    vectors = embed_series(predictor, series)
    with pytest.raises(ValueError, match="needs embeddings"):
        predictor.classify([vectors[:3]], [series])
    long = make_series(13)
    with pytest.raises(ValueError, match="at most 12"):
        predictor.classify([embed_series(predictor, long)], [long])


@pytest.mark.parametrize("times", [[1.0, np.nan, 2.0], [1.0, np.inf, np.inf], [2.0, 1.0, 3.0]])
def test_times_that_tell_no_order_are_refused(times):
    """Whole series whose times are no numbers, or run back, are refused with the number of the series."""
    bad = dataclasses.replace(make_series(3), time_T=np.array(times))
    with pytest.raises(ValueError, match="times of series 1 are not finite and in order"):
        build("vigil").predict([make_series(3), bad])


def test_groups_that_are_too_large_say_how_to_cut():
    """A whole series handed to ``embed`` is refused with the group size and the words that cut it."""
    with pytest.raises(ValueError, match=r"group_size = 1 at a time: cut each series with series.groups\(1\)"):
        build("vigil").embed([make_series(5)])
    assert build("vigil").embed([]).shape[0] == 0


def test_a_forgotten_past_is_refused():
    """A network that reads histories does not answer without them, and answers otherwise where nothing is told."""
    network, card = untrained("ztf", "vigil", 1, **SETTINGS["vigil"], history_limit=12)
    predictor, series = Predictor(network, card), make_series(3)
    vectors = predictor.embed(series.groups(1))
    with pytest.raises(
        ValueError, match=r"one history per series, model\.past_photometry\.NO_HISTORY where nothing is told"
    ):
        predictor.classify([vectors], [series])
    past = History(series.time_T[:1] - 2.0, series.band_T[:1], series.flux_T[:1], series.flux_error_T[:1])
    alone, with_past = (predictor.predict([series], [history]).probabilities for history in (NO_HISTORY, past))
    assert not np.allclose(alone, with_past)


def test_unknown_survey_is_an_error():
    """A survey that we do not know is refused with the ones that we do."""
    with pytest.raises(ValueError, match="sdss, ztf, lsst"):
        Predictor.untrained("panstarrs")


def test_missing_weights_say_what_to_do(tmp_path):
    """Weights that are not there are an error with the remedy."""
    with pytest.raises(WeightsError, match="give a path"):
        Predictor.load(tmp_path / "nothing")


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("deterministic", [False, True])
def test_warm_up_takes_the_largest_shapes(name, deterministic, monkeypatch):
    """Warming up runs through every epoch, told or seen, that the network ever reads."""
    predictor = build(name, deterministic=deterministic)
    shapes = []

    def seen(curve):
        epochs = 0 if curve.history is None else curve.history.mask_BT.shape[1]
        shapes.append((curve.mask_BT.shape[1], epochs))
        return curve

    monkeypatch.setattr(
        "model.serving.predictor.collate_curve", lambda *args, **more: seen(collate_curve(*args, **more))
    )
    predictor.warm_up()
    assert (predictor.card.frame_limit, predictor.card.history_limit) in shapes

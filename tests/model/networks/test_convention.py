"""ConvEntion as published: its size, its two equal forms of attention, its padding and its updates group by group."""

import dataclasses

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from model.networks import registry
from model.networks.contract import Frames, collate
from model.networks.convention import ConvEntion, CountedBatchNorm
from model.networks.grouped import cut_groups, select_rows
from model.networks.layers.pixel_standard import NJY_PER_MAGGY
from model.series import Series

SMALL = {"network": "convention", "size": 21, "width": 0.125, "frame_limit": 15, "dropout": 0.0}


def make_series(length: int, size: int = 21, channels: int = 1, seed: int = 0) -> Series:
    rng = np.random.default_rng(seed)
    return Series(
        rng.normal(size=(length, channels, size, size)).astype(np.float16),
        np.full((length, channels), 400.0, np.float32),
        rng.integers(0, 5, length).astype(np.int8),
        np.sort(rng.uniform(0, 90, length)),
        rng.normal(1000, 300, length).astype(np.float32),
        np.full(length, 100.0, np.float32),
    )


def build(seed: int = 1, **settings) -> ConvEntion:
    torch.manual_seed(seed)
    network = registry.build(SMALL | settings)
    assert isinstance(network, ConvEntion)
    return network.eval()


def cached(network: ConvEntion, frames: Frames) -> Tensor:
    groups, real_N = cut_groups(frames, network.group_size)
    embeddings = torch.zeros(len(real_N), *network.embedding_shape)
    embeddings[real_N] = network.embed(select_rows(groups, real_N))
    return network.classify(embeddings.unflatten(0, (len(frames.curve.mask_BT), -1)), frames.curve)


def test_published_size():
    """The defaults have the 1,253,108 parameters of the published network, part by part."""
    network = registry.build({"network": "convention"})
    assert isinstance(network, ConvEntion)

    def count(part: nn.Module) -> int:
        return sum(p.numel() for p in part.parameters())

    assert count(network) == 1_253_108
    assert count(network.stem) == 896_664
    assert [count(block) for block in network.blocks] == [89_516, 89_516]
    assert count(network.dense) + count(network.output) == 167_172
    assert network.embedding_shape == (8, 9, 9)


def test_linear_attention_is_exact():
    """Attention in O(T) gives the logits and gradients of attention over all pairs to 1e-5."""
    frames = collate([make_series(15, seed=3), make_series(8, seed=4)])
    linear, quadratic = build(attention="linear"), build(attention="quadratic")
    quadratic.load_state_dict(linear.state_dict())
    gradients = []
    for network in (linear, quadratic):
        logits = network(frames)
        logits.square().sum().backward()
        gradients.append([p.grad for p in network.parameters() if p.grad is not None])
    assert torch.allclose(linear(frames), quadratic(frames), atol=1e-5)
    for one, other in zip(*gradients, strict=True):
        assert torch.allclose(one, other, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("length", [1, 2, 3, 7, 15])
def test_groups_kept_give_the_full_answer(length):
    """Embedding each group once and classifying later equals the pass over whole series to 1e-5."""
    network = build()
    frames = collate([make_series(length), make_series(max(1, length - 1), seed=9)])
    assert torch.allclose(cached(network, frames), network(frames), atol=1e-5)


@pytest.mark.parametrize("head", ["linear", "cosine"])
def test_folding_keeps_the_answer(head):
    """Folding the normalisation for inference and keeping the padding group changes nothing beyond 1e-5."""
    network = build(head=head)
    network.train()(collate([make_series(12, seed=s) for s in range(8)]))  # running statistics off their start
    network.eval()
    frames = collate([make_series(7)])
    before = network(frames)
    network.prepare_for_inference()
    assert torch.allclose(network(frames), before, atol=1e-5 * network.logit_scale)
    assert torch.allclose(cached(network, frames), before, atol=1e-5 * network.logit_scale)


def test_longer_padding_changes_nothing():
    """A series alone and the same series padded beside a longer one have the same logits."""
    network = build()
    short, long = make_series(4), make_series(15, seed=2)
    alone = network(collate([short]))
    together = network(collate([short, long]))
    assert torch.allclose(alone[0], together[0], atol=1e-5)


def test_padding_is_attended_as_published():
    """Groups of padding reach the answer: the original has no mask, and we keep that."""
    network = build()
    frames = collate([make_series(3)])
    with torch.no_grad():
        before = network(frames)
        network.stem.normalisations[-1].bias.add_(0.5)
        network.padding_Dhw = network.padding_embedding()
        answer = network.classify(network.embed(frames)[:, None], frames.curve)
        network.padding_Dhw = network.padding_Dhw + 10
        moved = network.classify(network.embed(frames)[:, None], frames.curve)
    assert not torch.allclose(before, answer)
    assert not torch.allclose(answer, moved)


def test_drawn_groups_stand_for_those_that_were_not():
    """Two groups drawn of four fill the places of four: the answer to the series in which each is shown twice."""
    network = build().train()
    first, second = make_series(3, seed=1), make_series(3, seed=2)
    drawn = collate([join(first, second)])
    drawn = dataclasses.replace(drawn, curve=dataclasses.replace(drawn.curve, drawn_from_B=torch.tensor([12])))
    whole = collate([join(first, first, second, second)])
    assert torch.allclose(network(drawn), network(whole), atol=1e-4)
    assert not torch.allclose(network(collate([join(first, second)])), network(whole), atol=1e-2)


def join(*series: Series) -> Series:
    """Frames of several series one after the other."""
    return Series(*(np.concatenate([getattr(one, name) for one in series]) for name in Series.__slots__))


def test_training_counts_padding_as_repeated():
    """In training the padding group, computed once, has the statistics and gradients of padding written out."""
    torch.manual_seed(0)
    x = torch.randn(5, 3, 2, 4, 4, requires_grad=True)
    count = torch.tensor([1.0, 1, 1, 1, 6])
    counted, plain = CountedBatchNorm(3), nn.BatchNorm3d(3)
    y = counted(x, count)
    y_plain = plain(torch.cat([x[:4], x[4:].expand(6, -1, -1, -1, -1)]))
    assert torch.allclose(y, y_plain[:5], atol=1e-5)
    assert torch.allclose(counted.running_mean, plain.running_mean, atol=1e-6)
    assert torch.allclose(counted.running_var, plain.running_var, atol=1e-6)
    weight = torch.randn_like(y)
    (gradient,) = torch.autograd.grad((y * weight * count[:, None, None, None, None]).sum(), x)
    (gradient_plain,) = torch.autograd.grad(
        (y_plain * torch.cat([weight[:4], weight[4:].expand(6, -1, -1, -1, -1)])).sum(), x
    )
    assert torch.allclose(gradient, gradient_plain, atol=1e-5)


@pytest.mark.parametrize("length", [9, 15])  # of a limit of 15: with places of padding, and without
def test_places_can_be_normalised_by_themselves(length: int):
    """The maps of the second groups of a batch are those of a training step on these groups alone."""
    frames = collate([make_series(length, seed=seed) for seed in range(4)])
    by_place = build(norm_by_place=True).train().embed_series(frames)
    groups, _ = cut_groups(frames, 3)
    alone = build().train()
    second = select_rows(groups, torch.arange(1, 4 * length // 3, length // 3))
    images, bands = alone.standardise(second), alone.of_bands(second.curve.band_BT)
    expected = alone.stem(images, bands, torch.ones(4))
    assert torch.allclose(by_place[:, 1], expected, atol=1e-5)
    together = build().train().embed_series(frames)
    assert not torch.allclose(together[:, 1], expected, atol=1e-2)
    assert torch.equal(build(norm_by_place=True).embed_series(frames), build().embed_series(frames))


@pytest.mark.parametrize("head", ["linear", "cosine"])
def test_every_used_parameter_learns(head):
    """A training step gives every parameter a gradient; only the query, which cancels, gets none to speak of."""
    network = build(head=head).train()
    frames = collate([make_series(15, seed=s) for s in range(4)])
    network(frames).logsumexp(1).sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
    query = network.blocks[0].attention.query_key_value.weight.grad[:8]
    assert query.abs().max() < 1e-6
    assert network.stem.convolutions[0].weight.grad.abs().max() > 0


def test_the_cosine_head_knows_directions_only():
    """Lengths of features and of classes do not matter, and features along a class's vector have logit 30 for it."""
    network = build(head="cosine")
    features = torch.randn(6, network.feature_width)
    with torch.no_grad():
        before = network.head(features)
        assert before.abs().max() <= 30
        assert torch.allclose(network.head(7 * features), before, atol=1e-4)
        assert torch.allclose(network.head(network.output.weight).diagonal(), torch.full((4,), 30.0))
        network.output.weight.mul_(torch.tensor([[0.1], [1.0], [2.0], [50.0]]))
        assert torch.allclose(network.head(features), before, atol=1e-4)
        assert torch.isfinite(network.head(torch.zeros(1, network.feature_width))).all()
    assert network.state_dict().keys() - build().state_dict().keys() == set()
    assert build().state_dict().keys() - network.state_dict().keys() == {"output.bias"}


def test_same_seed_same_network():
    """The same seed builds the same network, and the same series gets the same bits twice."""
    frames = collate([make_series(9)])
    assert torch.equal(build(seed=5)(frames), build(seed=5)(frames))


def test_frame_order_and_band_matter_but_times_do_not():
    """The network reads pixels, order and bands, and nothing of times or fluxes."""
    network, series = build(), make_series(9)
    frames = collate([series])
    shifted = Series(
        series.pixels_TCHW, series.scale_TC, series.band_T, series.time_T * 3, series.flux_T + 5, series.flux_error_T
    )
    assert torch.equal(network(frames), network(collate([shifted])))
    assert not torch.allclose(network(frames), network(collate([series[::-1]])))
    other_band = Series(
        series.pixels_TCHW, series.scale_TC, (series.band_T + 1) % 5, series.time_T, series.flux_T, series.flux_error_T
    )
    assert not torch.allclose(network(frames), network(collate([other_band])))


def test_standardisation_constants_are_in_njy():
    """A pixel one standard deviation above the authors' mean, given in nJy, is one."""
    network = registry.build({"network": "convention"}).eval()
    assert isinstance(network, ConvEntion)
    value = (5.53039069e-11 + 1.42964490e-10) * NJY_PER_MAGGY
    series = Series(
        np.ones((1, 1, 32, 32), np.float16),
        np.full((1, 1), value, np.float32),
        np.array([2], np.int8),
        np.zeros(1),
        np.zeros(1, np.float32),
        np.zeros(1, np.float32),
    )
    image = network.standardise(collate([series], 3))
    assert torch.allclose(image[0, 0, 0], torch.ones(32, 32), atol=1e-4)
    assert (image[0, 0, 1:] == 0).all()


@pytest.mark.parametrize("ready", [False, True])
def test_maps_of_bands_are_a_channel_of_the_first_convolution(ready):
    """Adding the answer to the bands' maps equals one convolution of pixels and maps side by side."""
    network = build()
    if ready:
        network.prepare_for_inference()
    frames, _ = cut_groups(collate([make_series(7)]), network.group_size)
    images = network.standardise(frames)
    maps = network.band_map(frames.curve.band_BT).unflatten(-1, (1, 21, 21)).transpose(1, 2)
    first = network.stem.convolutions[0]
    written_out = first(torch.cat([images, maps], 1))
    with torch.no_grad():
        split = nn.functional.conv3d(images, first.weight[:, :-1], first.bias, first.stride, first.padding)
        added = network.of_bands(frames.curve.band_BT).view_as(split)
    assert added.abs().max() > 0.1
    assert torch.allclose(split + added, written_out, atol=1e-5)


def test_larger_stamps_are_cropped_about_the_centre():
    """A larger stamp counts by its central pixels only, and a smaller one is refused."""
    network, series = build(), make_series(5, size=32)
    inner = Series(
        series.pixels_TCHW[..., 6:27, 6:27],
        series.scale_TC,
        series.band_T,
        series.time_T,
        series.flux_T,
        series.flux_error_T,
    )
    assert torch.equal(network(collate([series])), network(collate([inner])))
    with pytest.raises(ValueError, match="pad them first"):
        network(collate([make_series(5, size=15)]))


def test_too_long_series_are_refused():
    """A series over the limit of frames is an error that names the limit."""
    with pytest.raises(ValueError, match="at most 15"):
        build()(collate([make_series(16)]))


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"attention": "cubic"}, "cubic"),
        ({"head": "sine"}, "'linear' or 'cosine'"),
        ({"widht": 2}, "no setting widht"),
        ({"channels": 3}, "3 channels"),
        ({"network": "resnet"}, "choose one of"),
    ],
)
def test_wrong_settings_are_named(setting, message):
    """A wrong setting is an error that names it."""
    with pytest.raises(ValueError, match=message):
        registry.build(SMALL | setting)


def test_configuration_round_trip():
    """The description of a network, through JSON, builds the same shapes."""
    import json

    network = build(channels=2, mean_njy=((1.0, 2.0),) * 6, sigma_njy=((3.0, 4.0),) * 6)
    again = registry.build(json.loads(json.dumps(registry.describe(network))))
    assert again.config == network.config
    again.load_state_dict(network.state_dict())

"""The convolution by spectra: the numbers and the gradients of ``conv3d``, alone and in ConvEntion's stem."""

import copy

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from model.networks import convention
from model.networks.convention import ConvEntionConfig, Stem
from model.networks.layers import counted_batch_norm
from model.networks.layers.spectral_convolution import spectral_conv3d

SHAPES = [  # side, kernel, padding in depth and in space
    pytest.param(13, 5, (2, 2), id="padded 13"),
    pytest.param(13, 3, (0, 0), id="valid 13"),
    pytest.param(8, 5, (2, 2), id="padded, even side"),
    pytest.param(10, 3, (0, 0), id="valid, even side"),
    pytest.param(7, 5, (2, 0), id="padded in depth alone"),
]


def pixels_first(image: Tensor) -> Tensor:
    return image.permute(3, 4, 2, 0, 1).flatten(0, 1)


def images_first(pixels: Tensor) -> Tensor:
    side = round(len(pixels) ** 0.5)
    return pixels.unflatten(0, (side, side)).permute(3, 4, 2, 0, 1)


def draw(
    side: int, kernel: int, padding: tuple[int, int], images: int = 5, dtype=torch.float64
) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(side)
    image = torch.randn(images, 3, 3 if padding[0] else 5, side, side, generator=generator, dtype=dtype)
    weight = torch.randn(4, 3, 3, kernel, kernel, generator=generator, dtype=dtype)
    return image.requires_grad_(), weight.requires_grad_()


def both(images: tuple[Tensor, Tensor], padding: tuple[int, int]) -> list[tuple[Tensor, ...]]:
    """Answer and gradients of images and their weight, directly and by spectra."""
    image, weight = images
    depth, space = padding
    answers = [
        functional.conv3d(image, weight, padding=(depth, space, space)),
        images_first(spectral_conv3d(pixels_first(image), weight, padding)),
    ]
    gradient = torch.randn(answers[0].shape, generator=torch.Generator().manual_seed(1), dtype=image.dtype)
    return [(answer, *torch.autograd.grad(answer, (image, weight), gradient)) for answer in answers]


@pytest.mark.parametrize(("side", "kernel", "padding"), SHAPES)
def test_it_is_conv3d_in_double_precision(side: int, kernel: int, padding: tuple[int, int]):
    """Answer and both gradients are those of ``conv3d`` to 1e-12, whatever the side, kernel and padding."""
    direct, spectral = both(draw(side, kernel, padding), padding)
    for expected, result in zip(direct, spectral, strict=True):
        torch.testing.assert_close(result, expected, rtol=0, atol=1e-12 * float(expected.detach().abs().max()))


@pytest.mark.parametrize(("side", "kernel", "padding"), SHAPES)
def test_its_rounding_in_single_precision_is_small(side: int, kernel: int, padding: tuple[int, int]):
    """In float32 it is off by less than 2e-5 of the largest value."""
    direct, spectral = both(draw(side, kernel, padding, dtype=torch.float32), padding)
    for expected, result in zip(direct, spectral, strict=True):
        torch.testing.assert_close(result, expected, rtol=0, atol=2e-5 * float(expected.detach().abs().max()))


@pytest.mark.slow
def test_its_gradients_are_its_slopes():
    """Both gradients agree with finite differences."""
    image, weight = (values.detach()[:, :2] for values in draw(4, 3, (2, 1), images=1))
    pixels = pixels_first(image).contiguous().requires_grad_()
    weight = weight[:2].contiguous().requires_grad_()
    assert torch.autograd.gradcheck(lambda of, by: spectral_conv3d(of, by, (2, 1)), (pixels, weight))


def test_images_are_taken_in_pieces():
    """More images than are worked on at a time give what each gives alone."""
    image, weight = draw(7, 5, (2, 2), images=300, dtype=torch.float32)
    together = spectral_conv3d(pixels_first(image), weight, (2, 2))
    alone = spectral_conv3d(pixels_first(image[-1:]), weight, (2, 2))
    torch.testing.assert_close(together[:, :, -1:], alone, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("training", [True, False])
def test_the_stem_is_the_same_function_each_way(training: bool, monkeypatch: pytest.MonkeyPatch):
    """Step by step, by rows and by spectra its maps, gradients and running statistics agree to 1e-10."""
    monkeypatch.setattr(counted_batch_norm, "ROWS", 500)  # several pieces, the last one shorter
    torch.manual_seed(0)
    stem = Stem(ConvEntionConfig(width=0.1)).double().train(training)
    images, of_bands = torch.randn(7, 1, 3, 32, 32).double(), torch.randn(7, 6 * 3 * 13 * 13).double()
    count = torch.tensor([1.0, 4, 4, 1, 2, 1, 30]).double()  # repeated padding
    gradient = torch.randn(7, 8, 9, 9).double()
    result = []
    for rows, spectra in ((False, False), (True, False), (True, True)):
        monkeypatch.setattr(convention, "SPECTRA_ON_PROCESSORS", spectra)
        monkeypatch.setattr(Stem, "by_rows", lambda _, x, rows=rows: rows)
        ours, theirs = copy.deepcopy(stem), of_bands.clone().requires_grad_()
        maps = ours(images, theirs, count)
        maps.backward(gradient)
        learned = {name: parameter.grad for name, parameter in ours.named_parameters()}
        result.append({"maps": maps, "of_bands": theirs.grad, **learned, **dict(ours.named_buffers())})
    for name, expected in result[0].items():
        for other in result[1:]:
            torch.testing.assert_close(other[name], expected, rtol=1e-10, atol=1e-10, msg=name)


def test_in_bfloat16_the_stem_keeps_its_sums():
    """Under autocast its maps are as near to float32's as bfloat16 is, its running statistics much nearer."""
    torch.manual_seed(0)
    single, half = (copy.deepcopy(stem) for stem in [Stem(ConvEntionConfig(width=0.1)).train()] * 2)
    images, of_bands = torch.randn(64, 1, 3, 32, 32), torch.zeros(64, 6 * 3 * 13 * 13)
    expected = single(images, of_bands)
    with torch.autocast("cpu", torch.bfloat16):
        maps = half(images, of_bands)
    assert maps.dtype == torch.bfloat16
    maps.sum().backward()
    assert float((maps - expected).detach().square().mean().sqrt()) < 0.02
    assert all(bool(parameter.grad.isfinite().all()) for parameter in half.parameters())
    for ours, theirs in zip(half.buffers(), single.buffers(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=2e-3, atol=1e-4)


def test_the_stem_takes_the_way_that_suits_where_it_is(monkeypatch: pytest.MonkeyPatch):
    """On a processor by spectra; under autocast or with the switch off by rows; folded with few groups directly."""
    stem, image = Stem(ConvEntionConfig(width=0.1)), torch.zeros(8, 6, 3, 13, 13)
    assert stem.by_spectra(image)
    assert stem.by_rows(image)
    assert not stem.by_rows(image.to("meta"))
    stem.eval().fold()
    assert not stem.by_rows(image)
    assert stem.by_spectra(image)
    assert not stem.by_spectra(image[:1])
    with torch.autocast("cpu", torch.bfloat16):
        assert not stem.by_spectra(image)
    monkeypatch.setattr(convention, "SPECTRA_ON_PROCESSORS", False)
    assert not stem.by_spectra(image)


def test_a_folded_stem_answers_alike_with_and_without_spectra(monkeypatch: pytest.MonkeyPatch):
    """Served, with normalisation folded in and the kernels' spectra kept, the maps are those of the direct way."""
    torch.manual_seed(0)
    stem = Stem(ConvEntionConfig(width=0.1)).double().eval()
    images, of_bands = torch.randn(9, 1, 3, 32, 32).double(), torch.zeros(9, 6 * 3 * 13 * 13).double()
    expected = stem(images, of_bands)
    stem.fold()
    with torch.inference_mode():
        first, again = stem(images, of_bands), stem(images, of_bands)
        monkeypatch.setattr(convention, "SPECTRA_ON_PROCESSORS", False)
        direct = stem(images, of_bands)
    for result in (first, again, direct):
        torch.testing.assert_close(result, expected.detach(), rtol=1e-9, atol=1e-9)

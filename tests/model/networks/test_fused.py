"""Compiled passes over memory: the same numbers as without, and a word where there is nothing to compile with."""

import pytest
import torch
from torch import Tensor

from model.networks.layers import fused
from model.networks.layers.spectral_convolution import spectral_conv3d
from model.training.learning.execution import ExecutionSettings


@pytest.fixture
def switch():
    yield
    fused.fuse(False)


def convolved(images: int) -> tuple[Tensor, ...]:
    """Answer and gradients of a convolution by spectra."""
    generator = torch.Generator().manual_seed(images)
    image = torch.randn(49, 3, images, 4, generator=generator).requires_grad_()
    kernel = torch.randn(8, 4, 3, 5, 5, generator=generator).requires_grad_()
    answer = spectral_conv3d(image, kernel, (2, 2))
    return (answer, *torch.autograd.grad(answer.square().sum(), (image, kernel)))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.torch.jit.script_method:DeprecationWarning")  # torch's own, while it compiles
@pytest.mark.skipif(not fused.has_compiler(), reason="needs a C++ compiler")
def test_compiled_it_gives_the_same_numbers(switch: None):
    """A convolution by spectra and its gradients are the same to rounding, compiled, for any number of images."""
    expected = [convolved(images) for images in (3, 5, 7)]
    fused.fuse()
    for images, values in zip((3, 5, 7), expected, strict=True):
        for result, value in zip(convolved(images), values, strict=True):
            torch.testing.assert_close(result, value, rtol=1e-4, atol=1e-3)


def test_any_number_of_images_is_compiled_for_once(switch: None, monkeypatch: pytest.MonkeyPatch):
    """The last axis but one may have any length; another length elsewhere is another compilation, with its answer."""
    graphs = []

    def counting(graph, inputs):
        graphs.append(graph)
        return graph.forward

    monkeypatch.setattr(fused, "BACKEND", counting)
    monkeypatch.setattr(fused, "_compiling", True)
    double = fused.fused(lambda values, factor: values * factor)
    for images in (3, 4, 5, 6):
        values = torch.ones(2, images, 7, requires_grad=True)
        answer = double(values, 2.0)
        assert not answer.requires_grad
        assert torch.equal(answer, torch.full((2, images, 7), 2.0))
    assert len(graphs) == 2  # for three, then for any number
    assert torch.equal(double(torch.ones(2, 6, 7), 3.0), torch.full((2, 6, 7), 3.0))
    assert torch.equal(double(torch.ones(2, 6, 9), 3.0), torch.full((2, 6, 9), 3.0))


def test_a_missing_compiler_is_said(monkeypatch: pytest.MonkeyPatch):
    """Asked to compile on a processor without a C++ compiler, a training says what to install."""
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(fused.CompilerMissingError, match=r"no C\+\+ compiler 'no-such-compiler': install g\+\+"):
        ExecutionSettings(torch.device("cpu"), compiled=True).ready(torch.nn.Identity())

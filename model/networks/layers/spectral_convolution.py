"""A 3-D convolution with a kernel of three in depth as products of spectra: the numbers of ``conv3d``, fewer products.

Written for processors. A direct convolution of 3 x 13 x 13 with 3 x 5 x 5 multiplies 375 times per output pixel and
pair of channels, four in ten of them with the zeros of the padding. Here

* depth is a product of two polynomials of degree two, taken at five points (Toom-Cook; its transpose where the
  convolution is not padded): 5 products for 9;
* space is a product of Fourier transforms at ``side + padding`` points, which is enough for what wraps around to fall
  on pixels that nobody asks for. Of conjugate pairs only one frequency is computed. About the centre of the image its
  even part has a real spectrum and its odd part an imaginary one, so that the transforms are two dense matrices of half
  the size;
* a product of complex numbers costs three real ones (Gauss).

All of it is matrix products of contiguous matrices, because pixels come first in the layout and channels last:
``[pixel, depth, n, channel]``. Equal to ``conv3d`` to about 1e-5 of the largest value in float32.

Legend: ``n`` images, ``I`` and ``O`` channels in and out, ``d`` depth, ``p`` points in depth, ``k`` frequencies,
``x`` pixels, ``e`` pixels of an even half and ``o`` of an odd half.

References
----------
Winograd 1980, "Arithmetic complexity of computations"; Mathieu, Henaff & LeCun 2013, "Fast training of convolutional
networks through FFTs".
"""

import math
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from model.networks.layers.fused import fused

KERNEL_DEPTH = 3
POINTS = 5  # of the polynomials: 0, 1, -1, 2 and infinity
# Of each row the first column that is not 0 and what stands there, and the other columns and what stands in them.
Matrix = tuple[tuple[int, float, tuple[tuple[int, float], ...]], ...]

Factors = tuple[Tensor, Tensor, Tensor]  # of a kernel: see kernel_factors

CHUNK = 128  # images at a time: what is in work stays near the processor


@dataclass(frozen=True, slots=True)
class ConvolutionPlan:
    """The matrices of one shape of convolution.

    Parameters
    ----------
    side, kernel
        Pixels on a side of the image and of the kernel.
    padding
        In space: (kernel - 1) / 2 or 0.
    padded_depth
        True: depth 3 becomes 5, padded by two zeros either way. False: 5 becomes 3, without padding.
    """

    side: int
    kernel: int
    padding: int
    padded_depth: bool
    dtype: torch.dtype = torch.float32
    depth_in: Matrix = field(init=False)  # to the points
    depth_in_transposed: Matrix = field(init=False)
    depth_out: Matrix = field(init=False)  # from the points
    depth_out_transposed: Matrix = field(init=False)
    depth_kernel_PD: Tensor = field(init=False)
    cos_in_KE: Tensor = field(init=False)
    sin_in_KO: Tensor = field(init=False)
    cos_kernel_KX: Tensor = field(init=False)
    sin_kernel_KX: Tensor = field(init=False)
    cos_out_EK: Tensor = field(init=False)
    sin_out_OK: Tensor = field(init=False)

    def __post_init__(self) -> None:
        def keep(name: str, value: Tensor) -> None:
            object.__setattr__(self, name, value.to(self.dtype).contiguous())

        three, five = vandermonde(KERNEL_DEPTH), torch.linalg.inv(vandermonde(POINTS))
        depth_in, depth_out = (three, five) if self.padded_depth else (five.T, three.T)
        object.__setattr__(self, "depth_in", terms_of(depth_in))
        object.__setattr__(self, "depth_in_transposed", terms_of(depth_in.T))
        object.__setattr__(self, "depth_out", terms_of(depth_out))
        object.__setattr__(self, "depth_out_transposed", terms_of(depth_out.T))
        keep("depth_kernel_PD", three.flip(1) if self.padded_depth else three)
        period = self.side + self.padding
        frequency_K2, weight_K = half_plane(period)
        angle_KX = 2 * math.pi / period * frequency_K2 @ centred(self.side).T
        pixels = self.side**2
        keep("cos_in_KE", torch.cos(angle_KX[:, : (pixels + 1) // 2]))
        keep("sin_in_KO", torch.sin(angle_KX[:, : pixels // 2]))
        angle_KX = 2 * math.pi / period * frequency_K2 @ centred(self.kernel).T
        keep("cos_kernel_KX", torch.cos(angle_KX))
        keep("sin_kernel_KX", torch.sin(angle_KX))
        angle_XK = 2 * math.pi / period * centred(self.side_out) @ frequency_K2.T
        pixels = self.side_out**2
        keep("cos_out_EK", (weight_K * torch.cos(angle_XK))[: (pixels + 1) // 2])
        keep("sin_out_OK", (weight_K * torch.sin(angle_XK))[: pixels // 2])

    @property
    def side_out(self) -> int:
        return self.side + 2 * self.padding - self.kernel + 1


@lru_cache(maxsize=16)
def plan(side: int, kernel: int, padding: int, padded_depth: bool, dtype: torch.dtype) -> ConvolutionPlan:
    """The plan of a shape, made once."""
    return ConvolutionPlan(side, kernel, padding, padded_depth, dtype)


def vandermonde(terms: int) -> Tensor:
    """Polynomials of so many terms at the five points. Returns float64 [POINTS, terms]."""
    finite = torch.tensor([0.0, 1.0, -1.0, 2.0], dtype=torch.float64)
    powers = finite[:, None] ** torch.arange(terms)
    infinite = torch.zeros(1, terms, dtype=torch.float64)
    infinite[0, -1] = 1.0
    return torch.cat([powers, infinite])


def terms_of(matrix: Tensor) -> Matrix:
    """What is not 0 in a small matrix."""
    rows = []
    for row in matrix.tolist():
        (first, factor), *others = ((depth, value) for depth, value in enumerate(row) if abs(value) > 1e-12)
        rows.append((first, factor, tuple(others)))
    return tuple(rows)


def half_plane(period: int) -> tuple[Tensor, Tensor]:
    """One frequency of each conjugate pair [K, 2], and its weight [K] in the inverse transform of a real image."""
    u, v = (n.flatten() for n in torch.meshgrid(torch.arange(period), torch.arange(period), indexing="ij"))
    itself, partner = u * period + v, (-u % period) * period + (-v % period)
    one_of_pair = itself <= partner
    weight_K = torch.where(itself == partner, 1.0, 2.0).double()[one_of_pair] / period**2
    return torch.stack([u, v], 1)[one_of_pair].double(), weight_K


def centred(side: int) -> Tensor:
    """Rows and columns of the pixels of a square about its centre. Returns float64 [pixels, 2]."""
    at = torch.arange(side, dtype=torch.float64) - (side - 1) / 2
    return torch.stack([n.flatten() for n in torch.meshgrid(at, at, indexing="ij")], 1)


def mixed(matrix: Matrix, values_xDnC: Tensor) -> Tensor:
    """A small matrix applied along depth, term by term: a library's product of so few numbers is slower."""
    values = values_xDnC.unbind(1)
    rows = []
    for first, factor, others in matrix:
        row = values[first] if factor == 1 else values[first] * factor
        for depth, alpha in others:
            row = torch.add(row, values[depth], alpha=alpha)
        rows.append(row)
    return torch.stack(rows, 1)


@fused
def parts(matrix: Matrix, image_xDnC: Tensor) -> tuple[Tensor, Tensor]:
    """Sums and differences of pixels that face each other across the centre, mixed in depth.

    The pixel that faces itself is among the sums, counted once.
    """
    half = len(image_xDnC) // 2
    pixel, facing = image_xDnC[:half], image_xDnC[len(image_xDnC) - half :].flip(0)
    centre = [mixed(matrix, image_xDnC[half : half + 1])] if len(image_xDnC) % 2 else []
    return torch.cat([mixed(matrix, pixel + facing), *centre]), mixed(matrix, pixel - facing)


@fused
def whole(matrix: Matrix, even: Tensor, odd: Tensor) -> Tensor:
    """The image whose sums and differences these are, mixed in depth: the transpose of :func:`parts`."""
    pixel, facing = mixed(matrix, even[: len(odd)] + odd), mixed(matrix, even[: len(odd)] - odd)
    centre = [mixed(matrix, even[len(odd) :])] if len(even) > len(odd) else []
    return torch.cat([pixel, *centre, facing.flip(0)])


def spectra(cos: Tensor, sin: Tensor, even: Tensor, odd: Tensor) -> tuple[Tensor, Tensor]:
    """Real and negative imaginary part, frequencies and points in depth as one axis [kp, n, C]."""
    shape = (-1, *even.shape[2:])
    return (cos @ even.flatten(1)).view(shape), (sin @ odd.flatten(1)).view(shape)


def halves(cos: Tensor, sin: Tensor, real: Tensor, imaginary: Tensor) -> tuple[Tensor, Tensor]:
    """Even and odd half of the pixels, [e, p, n, C] and [o, p, n, C]."""
    shape = (-1, POINTS, *real.shape[1:])
    frequencies = cos.shape[1]
    return (cos @ real.view(frequencies, -1)).view(shape), (sin @ imaginary.view(frequencies, -1)).view(shape)


class SpectralConvolution(torch.autograd.Function):
    """``image`` [x, d, n, I] and ``kernel`` [O, I, 3, k, k] to [x', d', n, O]."""

    @staticmethod
    def forward(ctx: Any, image: Tensor, kernel: Tensor, plan: ConvolutionPlan) -> Tensor:
        factors = kernel_factors(kernel, plan)
        spectra: list[Tensor] = []  # the images' spectra, in place of the images
        out = convolve_all(image, factors, plan, spectra)
        ctx.save_for_backward(*factors, *spectra)
        ctx.plan, ctx.kernel_shape, ctx.image_shape = plan, kernel.shape, image.shape
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        (gradient,) = gradients
        factors = ctx.saved_tensors[:3]
        spectra = iter(ctx.saved_tensors[3:])
        plan: ConvolutionPlan = ctx.plan
        wanted, _, _ = ctx.needs_input_grad
        turned = [factor.transpose(1, 2) for factor in factors]
        of_factors = [torch.zeros_like(factor) for factor in factors]
        of_image = gradient.new_empty(ctx.image_shape) if wanted else None
        for start, *ours in zip(range(0, gradient.shape[2], CHUNK), spectra, spectra, strict=True):
            some = slice(start, start + CHUNK)
            real, imaginary = output_spectra(gradient[:, :, some], plan)
            total = real + imaginary
            accumulate(of_factors, ours, (total, real, imaginary))
            if of_image is not None:
                common = torch.bmm(total, turned[0])
                of_real = torch.baddbmm(common, imaginary, turned[2], alpha=-1)
                of_imaginary = common.baddbmm_(real, turned[1], alpha=-1)
                of_image[:, :, some] = image_gradient(of_real, of_imaginary, plan)
        return of_image, kernel_gradient(of_factors, ctx.kernel_shape, plan), None


def convolve_all(image: Tensor, factors: Factors, plan: ConvolutionPlan, spectra: list[Tensor] | None = None) -> Tensor:
    """The convolution of any number of images, some at a time; their spectra are appended to ``spectra``."""
    out = image.new_empty((plan.side_out**2, len(plan.depth_out), image.shape[2], factors[0].shape[2]))
    for some, there in zip(image.split(CHUNK, 2), out.split(CHUNK, 2), strict=True):
        of_some = image_spectra(some, plan)
        if spectra is not None:
            spectra += of_some
        there.copy_(convolve(of_some, factors, plan))
    return out


def kernel_factors(kernel: Tensor, plan: ConvolutionPlan) -> Factors:
    """Real part, its difference from and its sum with the negative imaginary one, each [kp, I, O]."""
    outs, ins = kernel.shape[:2]
    taps = torch.einsum("pd,oidx->xpio", plan.depth_kernel_PD, kernel.reshape(outs, ins, KERNEL_DEPTH, -1)).flatten(1)
    real, imaginary = ((matrix @ taps).view(-1, ins, outs) for matrix in (plan.cos_kernel_KX, plan.sin_kernel_KX))
    return real, real - imaginary, real + imaginary


def kernel_gradient(of_factors: list[Tensor], shape: torch.Size, plan: ConvolutionPlan) -> Tensor:
    """The transpose of :func:`kernel_factors`."""
    common, difference, total = of_factors
    outs, ins = shape[:2]
    rows = (len(plan.cos_kernel_KX), -1)
    real = (common + difference).add_(total).view(rows)
    imaginary = (total - difference).view(rows)
    taps = plan.cos_kernel_KX.T @ real + plan.sin_kernel_KX.T @ imaginary
    return torch.einsum("pd,xpio->oidx", plan.depth_kernel_PD, taps.view(-1, POINTS, ins, outs)).reshape(shape)


def image_spectra(image: Tensor, plan: ConvolutionPlan) -> tuple[Tensor, Tensor]:
    """Real and negative imaginary part of the image's spectra at the points in depth, each [kp, n, I]."""
    return spectra(plan.cos_in_KE, plan.sin_in_KO, *parts(plan.depth_in, image))


def image_gradient(real: Tensor, imaginary: Tensor, plan: ConvolutionPlan) -> Tensor:
    """The transpose of :func:`image_spectra`."""
    return whole(plan.depth_in_transposed, *halves(plan.cos_in_KE.T, plan.sin_in_KO.T, real, imaginary))


def convolve(of_images: tuple[Tensor, Tensor], factors: Factors, plan: ConvolutionPlan) -> Tensor:
    """The convolution of some images, whose spectra these are."""
    real, imaginary = of_images
    common = torch.bmm(real + imaginary, factors[0])
    out_real = torch.baddbmm(common, imaginary, factors[1], alpha=-1)
    out_imaginary = common.baddbmm_(real, factors[2], alpha=-1)
    return whole(plan.depth_out, *halves(plan.cos_out_EK, plan.sin_out_OK, out_real, out_imaginary))


def output_spectra(gradient: Tensor, plan: ConvolutionPlan) -> tuple[Tensor, Tensor]:
    """The transpose of what :func:`convolve` does after its products."""
    return spectra(plan.cos_out_EK.T, plan.sin_out_OK.T, *parts(plan.depth_out_transposed, gradient))


def accumulate(of_factors: list[Tensor], ours: list[Tensor], theirs: tuple[Tensor, Tensor, Tensor]) -> None:
    """Add what some images ask of the kernel's three factors."""
    real, imaginary = ours
    total, out_real, out_imaginary = theirs
    of_factors[0].baddbmm_((real + imaginary).transpose(1, 2), total)
    of_factors[1].baddbmm_(imaginary.transpose(1, 2), out_real, alpha=-1)
    of_factors[2].baddbmm_(real.transpose(1, 2), out_imaginary, alpha=-1)


def spectral_conv3d(image: Tensor, kernel: Tensor, padding: tuple[int, int], factors: Factors | None = None) -> Tensor:
    """A 3-D convolution without bias, in the layout [side * side, depth, n, channel].

    Parameters
    ----------
    image
        [side * side, 3, n, I] where depth is padded by two, [side * side, 5, n, I] where it is not.
    kernel
        [O, I, 3, k, k], as ``conv3d`` takes it.
    padding
        In depth, 0 or 2; in space, at most (k - 1) / 2.
    factors
        Of a kernel that no longer changes, as :func:`factors_of` gives them: they are not computed again, and nothing
        gets a gradient.

    Returns
    -------
    Tensor
        [side' * side', 5 or 3, n, O].
    """
    side = math.isqrt(len(image))
    shape = plan(side, kernel.shape[-1], padding[1], padding[0] > 0, image.dtype)
    if factors is None and torch.is_grad_enabled():
        return SpectralConvolution.apply(image, kernel, shape)
    return convolve_all(image, factors or kernel_factors(kernel, shape), shape)


def factors_of(kernel: Tensor, side: int, padding: tuple[int, int]) -> Factors:
    """What the convolutions of images of this side need of a kernel: for one that no longer changes."""
    with torch.no_grad():
        return kernel_factors(kernel, plan(side, kernel.shape[-1], padding[1], padding[0] > 0, kernel.dtype))

"""Batch normalisation in which row n counts ``count_N[n]`` times: as if it had been repeated that often.

Legend: ``N`` rows, ``C`` channels; ``x`` pixels and ``d`` depth, as in the layout of
``model.networks.layers.spectral_convolution``.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from model.networks.layers.fused import fused


class CountedBatchNorm(nn.BatchNorm3d):
    """Batch normalisation with counted rows. ``forward`` takes [N, C, d, h, w], ``rectified`` [x, d, N, C]."""

    def forward(self, x: Tensor, count_N: Tensor | None = None) -> Tensor:
        if not self.training or count_N is None:
            return super().forward(x)
        x32 = x if x.dtype == torch.float64 else x.float()
        weight_N = count_N / count_N.sum()
        with torch.autocast(x.device.type, enabled=False):  # statistics are sums over very many values
            mean_C = weight_N @ x32.mean((2, 3, 4))
            variance_C = weight_N @ (x32 - mean_C[:, None, None, None]).square().mean((2, 3, 4))
        self._remember(mean_C, variance_C, count_N.sum() * x[0, 0].numel())
        gain_C = self.weight * torch.rsqrt(variance_C + self.eps)
        shift_C = self.bias - mean_C * gain_C
        return (x32 * gain_C[:, None, None, None] + shift_C[:, None, None, None]).to(x.dtype)

    def rectified(self, x_xdNC: Tensor, bias_C: Tensor, count_N: Tensor | None = None) -> Tensor:
        """Normalised values of ``x + bias_C``, those below 0 put to 0, in as few passes over memory as it takes.

        While it trains, a bias moves nothing but the running mean: its gradient is 0.
        """
        assert self.running_mean is not None
        assert self.running_var is not None
        if not self.training:
            gain_C = self.weight * torch.rsqrt(self.running_var + self.eps)
            return functional.relu(torch.addcmul(self.bias + (bias_C - self.running_mean) * gain_C, x_xdNC, gain_C))
        count_N = x_xdNC.new_ones(x_xdNC.shape[2]) if count_N is None else count_N
        with torch.no_grad():
            mean_C, variance_C = moments(x_xdNC, count_N)
            self._remember(mean_C + bias_C, variance_C, count_N.sum() * x_xdNC[:, :, 0, 0].numel())
        sigma_C = torch.sqrt(variance_C + self.eps)
        return Rectified.apply(x_xdNC, self.weight, self.bias, bias_C, mean_C, sigma_C, count_N)

    @torch.no_grad()
    def _remember(self, mean_C: Tensor, variance_C: Tensor, values: Tensor) -> None:
        """Move the running statistics towards those of so many values."""
        momentum = self.momentum if self.momentum is not None else 0.1
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        self.running_mean.lerp_(mean_C, momentum)
        self.running_var.lerp_(variance_C * values / (values - 1), momentum)
        self.num_batches_tracked += 1


def moments(x_xdNC: Tensor, count_N: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance [C] of rows that count so often.

    Sums over pixels are of differences to one of the rows, so that a mean far from 0 costs no digits.
    """
    origin_C = x_xdNC[len(x_xdNC) // 2, 0, 0]
    sum_NC, square_NC = (x_xdNC.new_zeros(x_xdNC.shape[2:]) for _ in range(2))
    for pixel_dNC in x_xdNC.unbind(0):
        add_moments(pixel_dNC, origin_C, sum_NC, square_NC)
    weight_N = count_N / (count_N.sum() * x_xdNC[:, :, 0, 0].numel())
    offset_C = weight_N @ sum_NC
    return origin_C + offset_C, (weight_N @ square_NC - offset_C.square()).clamp_(min=0)


@fused
def add_moments(pixel_dNC: Tensor, origin_C: Tensor, sum_NC: Tensor, square_NC: Tensor) -> None:
    """Add a pixel's differences to the origin, and their squares."""
    for row_NC in pixel_dNC.unbind(0):
        there_NC = row_NC - origin_C
        sum_NC += there_NC
        square_NC.addcmul_(there_NC, there_NC)


@fused
def rectify(x_xdNC: Tensor, level_C: Tensor, gain_C: Tensor) -> Tensor:
    """``relu(level + x * gain)``."""
    return torch.addcmul(level_C, x_xdNC, gain_C).relu_()


def passed(x: Tensor, gradient: Tensor, level_C: Tensor, gain_C: Tensor) -> Tensor:
    """The gradient where :func:`rectify` let the value pass, else 0."""
    return gradient * (torch.addcmul(level_C, x, gain_C) > 0)


@fused
def add_passed(
    x_dNC: Tensor,
    gradient_dNC: Tensor,
    level_C: Tensor,
    gain_C: Tensor,
    mean_C: Tensor,
    sum_NC: Tensor,
    product_NC: Tensor,
) -> None:
    """Add a pixel's gradient where :func:`rectify` let it pass, and its product with what it is a gradient of."""
    for x_NC, gradient_NC in zip(x_dNC.unbind(0), gradient_dNC.unbind(0), strict=True):
        passed_NC = passed(x_NC, gradient_NC, level_C, gain_C)
        sum_NC += passed_NC
        product_NC.addcmul_(passed_NC, x_NC - mean_C)


@fused
def put_gradient(
    x_dNC: Tensor,
    gradient_dNC: Tensor,
    level_C: Tensor,
    gain_C: Tensor,
    level_NC: Tensor,
    slope_NC: Tensor,
    out_dNC: Tensor,
) -> None:
    """A pixel's gradient by ``x``: of the value itself, and of the mean and variance that it has a share in."""
    passed_dNC = passed(x_dNC, gradient_dNC, level_C, gain_C)
    out_dNC.copy_(torch.addcmul(torch.addcmul(level_NC, passed_dNC, gain_C), slope_NC, x_dNC))


class Rectified(torch.autograd.Function):
    """``relu((x - mean) / sigma * weight + bias)``; mean and sigma are functions of x, and the gradient knows it."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight_C: Tensor,
        bias_C: Tensor,
        cancelled_C: Tensor,
        mean_C: Tensor,
        sigma_C: Tensor,
        count_N: Tensor,
    ) -> Tensor:
        gain_C = weight_C / sigma_C
        level_C = bias_C - mean_C * gain_C
        ctx.save_for_backward(x, level_C, gain_C, mean_C, sigma_C, count_N)
        return rectify(x, level_C, gain_C)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = gradients
        x, level_C, gain_C, mean_C, sigma_C, count_N = ctx.saved_tensors
        of_x = torch.empty_like(x)
        sum_NC, product_NC = (x.new_zeros(x.shape[2:]) for _ in range(2))
        for x_dNC, gradient_dNC in zip(x.unbind(0), gradient.unbind(0), strict=True):
            add_passed(x_dNC, gradient_dNC, level_C, gain_C, mean_C, sum_NC, product_NC)
        of_bias_C = sum_NC.sum(0)
        of_weight_C = product_NC.sum(0) / sigma_C
        share_N1 = count_N[:, None] / (count_N.sum() * x[:, :, 0, 0].numel())
        slope_NC = -share_N1 * (gain_C / sigma_C * of_weight_C)
        level_NC = -share_N1 * (gain_C * of_bias_C) - slope_NC * mean_C
        for x_dNC, gradient_dNC, out_dNC in zip(x.unbind(0), gradient.unbind(0), of_x.unbind(0), strict=True):
            put_gradient(x_dNC, gradient_dNC, level_C, gain_C, level_NC, slope_NC, out_dNC)
        return of_x, of_weight_C, of_bias_C, torch.zeros_like(of_bias_C), None, None, None

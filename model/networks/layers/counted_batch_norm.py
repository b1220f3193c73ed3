"""Batch normalisation in which image n counts ``count_N[n]`` times: as if it had been repeated that often.

Legend: ``N`` images, ``C`` channels; ``R`` rows, one for each pixel of each image, in any order.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from model.networks.layers.fused import fused

ROWS = 16384  # at a time: what is in work stays near the processor


class CountedBatchNorm(nn.BatchNorm3d):
    """Batch normalisation with counted images. ``forward`` takes [N, C, d, h, w], ``rectified`` has channels last."""

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

    def rectified(self, x: Tensor, bias_C: Tensor, count: Tensor | None = None) -> Tensor:
        """Normalised values of ``x + bias_C``, those below 0 put to 0, in as few passes over memory as it takes.

        ``x`` has the channels last; ``count`` broadcasts to its other axes. While it trains, a bias moves nothing but
        the running mean: its gradient is 0. Of values in bfloat16 the sums are in float32.
        """
        assert self.running_mean is not None
        assert self.running_var is not None
        if not self.training:
            gain_C = self.weight * torch.rsqrt(self.running_var + self.eps)
            return functional.relu(torch.addcmul(self.bias + (bias_C - self.running_mean) * gain_C, x, gain_C))
        count = self.weight.new_ones(1) if count is None else count
        count_R1 = count.expand(x.shape[:-1]).reshape(-1, 1)
        values = count_R1.sum()
        x_RC, share_R1 = x.flatten(0, -2), count_R1 / values
        with torch.no_grad():
            mean_C, variance_C = moments(x_RC, share_R1)
            self._remember(mean_C + bias_C, variance_C, values)
        sigma_C = torch.sqrt(variance_C + self.eps)
        return Rectified.apply(x_RC, self.weight, self.bias, bias_C, mean_C, sigma_C, share_R1).view(x.shape)

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


def moments(x_RC: Tensor, share_R1: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance [C] of rows that have these shares in them.

    Sums are of differences to one of the rows, so that a mean far from 0 costs no digits.
    """
    origin_C = x_RC[len(x_RC) // 2].to(share_R1.dtype)
    offset_C, square_C = (torch.zeros_like(origin_C) for _ in range(2))
    for rows_RC, share in zip(x_RC.split(ROWS), share_R1.split(ROWS), strict=True):
        add_moments(rows_RC, share, origin_C, offset_C, square_C)
    return origin_C + offset_C, (square_C - offset_C.square()).clamp_(min=0)


@fused
def add_moments(x_RC: Tensor, share_R1: Tensor, origin_C: Tensor, offset_C: Tensor, square_C: Tensor) -> None:
    """Add the shares of rows in the differences to the origin, and in their squares."""
    there_RC = x_RC - origin_C
    of_rows_RC = there_RC * share_R1
    offset_C += of_rows_RC.sum(0)
    square_C += (of_rows_RC * there_RC).sum(0)


@fused
def put_rectified(x_RC: Tensor, level_C: Tensor, gain_C: Tensor, out_RC: Tensor) -> None:
    """``relu(level + x * gain)``."""
    out_RC.copy_((level_C + x_RC * gain_C).clamp(min=0))


def passed(x_RC: Tensor, gradient_RC: Tensor, level_C: Tensor, gain_C: Tensor) -> Tensor:
    """The gradient where :func:`put_rectified` let the value pass, else 0."""
    return gradient_RC * (level_C + x_RC * gain_C > 0)


@fused
def add_passed(
    x_RC: Tensor,
    gradient_RC: Tensor,
    level_C: Tensor,
    gain_C: Tensor,
    mean_C: Tensor,
    sum_C: Tensor,
    product_C: Tensor,
) -> None:
    """Add the gradient of rows where they passed, and its product with what it is a gradient of."""
    passed_RC = passed(x_RC, gradient_RC, level_C, gain_C).to(sum_C.dtype)
    sum_C += passed_RC.sum(0)
    product_C += (passed_RC * (x_RC - mean_C)).sum(0)


@fused
def put_gradient(
    x_RC: Tensor,
    gradient_RC: Tensor,
    share_R1: Tensor,
    level_C: Tensor,
    gain_C: Tensor,
    shift_C: Tensor,
    slope_C: Tensor,
    out_RC: Tensor,
) -> None:
    """The gradient of rows: of the values themselves, and of the mean and variance that they have a share in."""
    passed_RC = passed(x_RC, gradient_RC, level_C, gain_C)
    out_RC.copy_(passed_RC * gain_C + share_R1 * (shift_C + slope_C * x_RC))


class Rectified(torch.autograd.Function):
    """``relu((x - mean) / sigma * weight + bias)``; mean and sigma are functions of x, and the gradient knows it."""

    @staticmethod
    def forward(
        ctx: Any,
        x_RC: Tensor,
        weight_C: Tensor,
        bias_C: Tensor,
        cancelled_C: Tensor,
        mean_C: Tensor,
        sigma_C: Tensor,
        share_R1: Tensor,
    ) -> Tensor:
        gain_C = weight_C / sigma_C
        level_C = bias_C - mean_C * gain_C
        ctx.save_for_backward(x_RC, level_C, gain_C, mean_C, sigma_C, share_R1)
        out_RC = torch.empty_like(x_RC)
        for rows_RC, put_RC in zip(x_RC.split(ROWS), out_RC.split(ROWS), strict=True):
            put_rectified(rows_RC, level_C, gain_C, put_RC)
        return out_RC

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (gradient_RC,) = gradients
        x_RC, level_C, gain_C, mean_C, sigma_C, share_R1 = ctx.saved_tensors
        of_bias_C, product_C = (torch.zeros_like(mean_C) for _ in range(2))
        parts = [tensor.split(ROWS) for tensor in (x_RC, gradient_RC)]
        for x, gradient in zip(*parts, strict=True):
            add_passed(x, gradient, level_C, gain_C, mean_C, of_bias_C, product_C)
        of_weight_C = product_C / sigma_C
        slope_C = -gain_C / sigma_C * of_weight_C
        shift_C = -gain_C * of_bias_C - slope_C * mean_C
        of_x_RC = torch.empty_like(x_RC)
        for x, gradient, share, out in zip(*parts, share_R1.split(ROWS), of_x_RC.split(ROWS), strict=True):
            put_gradient(x, gradient, share, level_C, gain_C, shift_C, slope_C, out)
        return of_x_RC, of_weight_C, of_bias_C, torch.zeros_like(of_bias_C), None, None, None

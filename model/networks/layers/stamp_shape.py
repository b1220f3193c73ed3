"""Size, offset and light of a frame's template and difference at the place of the alert.

Convolutions can find these numbers, and with a few thousand objects they do not all. They are sums of pixels under
fixed windows, so one product of matrices makes them.

Legend: ``N`` frames, ``C`` channels, ``H W`` pixels, ``P`` pixels in a row, ``K`` windows.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

TEMPLATE, DIFFERENCE = 1, 2  # of (science, template, difference)
DISC_RADII = (1.6, 3.2, 5.0, 8.0)  # in units of the survey's pixel or seeing
WINDOW_SIGMA, SEARCH_RADIUS = 2.5, 8.0
SOFT_SIGMA = 5.0  # sources fainter than this many deviations have no shape
STAMP_SHAPE_WIDTH = 19


class StampShape(nn.Module):
    """Fixed windows about the centre of a square of ``size`` pixels; ``unit_px`` is their unit of length."""

    def __init__(self, size: int, unit_px: float) -> None:
        super().__init__()
        index = torch.arange(size) - size // 2
        y_P, x_P = (values.flatten() / unit_px for values in torch.meshgrid(index, index, indexing="ij"))
        radius_P = torch.hypot(x_P, y_P)
        discs = [(radius_P <= radius).float() for radius in DISC_RADII]
        window_P = torch.exp(-0.5 * (radius_P / WINDOW_SIGMA) ** 2)
        kernels_PK = torch.stack([*discs, window_P, window_P * x_P, window_P * y_P, window_P * radius_P**2], 1)
        self.kernels_PK: Tensor
        self.noise_K: Tensor
        self.radius_P: Tensor
        self.register_buffer("kernels_PK", kernels_PK, persistent=False)
        self.register_buffer("noise_K", kernels_PK.square().sum(0).sqrt(), persistent=False)
        self.register_buffer("radius_P", radius_P, persistent=False)

    def forward(self, sigma_NCHW: Tensor, scale_NC: Tensor) -> Tensor:
        """Numbers of order one.

        Parameters
        ----------
        sigma_NCHW
            Pixels above the sky in units of noise, 0 where masked.
        scale_NC
            The noise, nJy per pixel.

        Returns
        -------
        [N, STAMP_SHAPE_WIDTH]
        """
        both_NCP = sigma_NCHW[:, TEMPLATE : DIFFERENCE + 1].flatten(2)
        sums_NCK = both_NCP @ self.kernels_PK
        template, difference = sums_NCK.unbind(1)
        smooth_NP = functional.avg_pool2d(sigma_NCHW[:, TEMPLATE : TEMPLATE + 1], 3, 1, 1).flatten(1)
        brightest_N1, where_N1 = smooth_NP.masked_fill(self.radius_P > SEARCH_RADIUS, -math.inf).max(1, keepdim=True)
        centre_N1 = (template[:, :1] / self.noise_K[0] ** 2).clamp(min=0)
        scale_N2 = torch.log10(scale_NC[:, TEMPLATE : DIFFERENCE + 1].clamp(min=1e-3))
        strength = [torch.log10(side[:, 1:2].abs() + SOFT_SIGMA * self.noise_K[1]) for side in (template, difference)]
        return torch.cat(
            [
                torch.asinh(template[:, :4] / self.noise_K[:4]) / 4,
                self._extent(template),
                torch.asinh(difference[:, :2] / self.noise_K[:2]) / 4,
                self._extent(difference * torch.sign(difference[:, 1:2])),
                torch.tanh(difference[:, 1:2] / (SOFT_SIGMA * self.noise_K[1])),
                strength[1] - strength[0] + scale_N2[:, 1:] - scale_N2[:, :1],
                torch.asinh(brightest_N1) / 4,
                self.radius_P[where_N1] / SEARCH_RADIUS,
                torch.log10((brightest_N1.clamp(min=0) + 1) / (centre_N1 + 1)),
            ],
            1,
        )

    def _extent(self, sums_NK: Tensor) -> Tensor:
        """Concentrations, width and offset of what lies under the window: [N, 4]; those of noise alone are near 0."""
        soft_K = SOFT_SIGMA * self.noise_K
        core, inner, middle, wide, window, x, y, square = (s.unsqueeze(1) for s in sums_NK.unbind(1))
        light = window.clamp(min=0) + soft_K[4]
        numbers = [
            core / (middle.clamp(min=0) + soft_K[2]),
            inner / (wide.clamp(min=0) + soft_K[3]),
            square / light / WINDOW_SIGMA**2,
            torch.sqrt(x * x + y * y) / light,
        ]
        return torch.cat(numbers, 1).clamp(-3, 3)

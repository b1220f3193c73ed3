"""Standardisation of pixels by band and channel, as the networks of the published table read them.

Legend: ``B`` rows, ``T`` frames, ``C`` image channels, ``H W`` pixels, ``L`` bands of ``model.series.BANDS``.
"""

import torch
from torch import Tensor, nn

from model.networks.contract import Frames
from model.networks.layers.crop import central_crop
from model.series import BANDS

NJY_PER_MAGGY = 3.631e12  # AB: a source of magnitude 0 has 3631 Jy
# Mean and standard deviation of the SDSS pixels of ConvEntion's authors in u, g, r, i, z (maggies per pixel); they had
# no y band, and it takes the values of z.
SDSS_MEAN_MAGGY = (1.17335142e-11, 2.41511189e-11, 5.53039069e-11, 5.17518492e-11, 9.30239258e-11, 9.30239258e-11)
SDSS_SIGMA_MAGGY = (1.87221809e-10, 7.85509139e-11, 1.42964490e-10, 2.15037795e-10, 3.89587566e-10, 3.89587566e-10)
SDSS_MEAN_NJY = tuple((mean * NJY_PER_MAGGY,) for mean in SDSS_MEAN_MAGGY)
SDSS_SIGMA_NJY = tuple((sigma * NJY_PER_MAGGY,) for sigma in SDSS_SIGMA_MAGGY)

Table = tuple[tuple[float, ...], ...]  # [band][channel]


class PixelStandard(nn.Module):
    """(pixel − mean) / sigma by band and channel, of the central ``size`` x ``size``; 0 where nothing was observed."""

    def __init__(self, mean_njy: Table, sigma_njy: Table, size: int) -> None:
        super().__init__()
        self.size = size
        self.mean_LC: Tensor
        self.sigma_LC: Tensor
        self.register_buffer("mean_LC", torch.tensor(mean_njy), persistent=False)
        self.register_buffer("sigma_LC", torch.tensor(sigma_njy), persistent=False)

    def forward(self, frames: Frames) -> Tensor:
        """[B, T, C, H, W]; frames of padding are exactly 0."""
        band_BT = frames.curve.band_BT
        pixels = central_crop(frames.pixels_BTCHW, self.size)
        observed = central_crop(frames.pixel_mask_BTCHW, self.size)
        standard = (pixels - self.mean_LC[band_BT][..., None, None]) / self.sigma_LC[band_BT][..., None, None]
        return torch.where(observed, standard, torch.zeros_like(standard))


def check_tables(channels: int, **tables: Table) -> None:
    """Refuse tables that are not one row per band with one value per channel.

    Raises
    ------
    ValueError
        With the name of the table.
    """
    for name, table in tables.items():
        if len(table) != len(BANDS) or any(len(row) != channels for row in table):
            raise ValueError(f"{name} needs {len(BANDS)} bands x {channels} channels, got {table}")

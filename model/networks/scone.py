"""SCONE: a Gaussian process turns the light curve into a picture, wavelength by time, which a CNN reads.

Light curves in, logits out. The picture is made by scikit-learn on the processor and kept, for it takes tens of
milliseconds: do not train it with augmented light curves.

Legend: ``B`` objects, ``P`` measurements of one object, ``W`` wavelengths, ``S`` days, ``F`` features, ``K`` classes.

With four classes it has 22,540 trainable parameters; the published table says 22.2 k. The window starts 50 days before
the brightest significant measurement, which stands for the date of the peak. Milky Way extinction is not put in.

References
----------
Qu, Sako, Möller & Doux 2021, AJ 162, 67 (arXiv:2106.04370).
"""

import hashlib
import warnings
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern
from torch import Tensor, nn

from model.networks.contract import LightCurve
from model.networks.nightly_photometry import LightCurveNetwork, without_host

WAVELENGTH_A = (
    3561.79,
    4718.87,
    6185.19,
    7499.70,
    8961.49,
    9712.0,
)  # effective, of model.series.BANDS; SDSS's, LSST's y
TIME_SCALE_D, WAVELENGTH_SCALE_A = 20.0, 6_000.0  # the first is fitted, the second is fixed
TIME_SCALE_BOUNDS_D = (1.0, 500.0)
SYSTEMATIC = 0.01  # of the largest flux: added to errors where the significant ones are chosen
DAYS_BEFORE_PEAK, DAYS = 50, 180
WAVELENGTHS = 32
REDDEST_A, BLUEST_A = 10_100.0, 3_000.0
PADDING_D = 100.0  # zero flux is put this far before and after
KEPT_PICTURES = 20_000  # 23 kB each as float16
FEATURES = 32


@dataclass(frozen=True, slots=True)
class SconeConfig:
    """The defaults are the published size."""

    class_count: int = 4
    frame_limit: int = 99
    dropout: float = 0.5
    head_dropout: float = 0.3


class Scone(LightCurveNetwork):
    """A CNN on the image of a light curve: wavelength against time."""

    name = "scone"

    def __init__(self, config: SconeConfig) -> None:
        super().__init__()
        self.config = config
        self.frame_limit, self.feature_width = config.frame_limit, FEATURES
        self.convolutions = nn.Sequential(
            SwappedConvolution(2, WAVELENGTHS),
            SwappedConvolution(1, WAVELENGTHS),
            nn.MaxPool2d(2),
            SwappedConvolution(1, WAVELENGTHS // 2),
            SwappedConvolution(1, WAVELENGTHS // 2),
            nn.MaxPool2d(2),
        )
        self.dropout = nn.Dropout(config.dropout)
        self.dense = nn.Linear(WAVELENGTHS // 4 * (DAYS // 4), FEATURES)
        self.head_dropout = nn.Dropout(config.head_dropout)
        self.output = nn.Linear(FEATURES, config.class_count)
        self.pictures: dict[bytes, NDArray[np.float16]] = {}

    def penultimate(self, embeddings_BGD: Tensor, curve: LightCurve) -> Tensor:
        self.check_length(curve.mask_BT.shape[1])
        map_BF = self.convolutions(self.draw(curve)).flatten(1)
        return self.dense(self.dropout(map_BF)).relu()

    def head(self, features_BF: Tensor) -> Tensor:
        return self.output(self.head_dropout(features_BF))

    def draw(self, curve: LightCurve) -> Tensor:
        """Pictures [B, 2, W, S]: the process's mean and its deviation, both over the largest flux."""
        curve = without_host(curve)
        known_BT = (curve.mask_BT & (curve.flux_error_BT > 0)).cpu().numpy()
        columns = (curve.time_BT, curve.band_BT, curve.flux_BT, curve.flux_error_BT)
        table_BTX = np.stack([column.double().cpu().numpy() for column in columns], -1)
        pictures = [self._picture(table[known]) for table, known in zip(table_BTX, known_BT, strict=True)]
        return torch.from_numpy(np.stack(pictures)).float().to(curve.flux_BT.device)

    def _picture(self, table_PX: NDArray[np.float64]) -> NDArray[np.float16]:
        key = hashlib.blake2b(table_PX.tobytes(), digest_size=16).digest()
        if key not in self.pictures:
            if len(self.pictures) >= KEPT_PICTURES:
                del self.pictures[next(iter(self.pictures))]
            self.pictures[key] = heatmap(*table_PX.T).astype(np.float16)
        return self.pictures[key]


class SwappedConvolution(nn.Module):
    """A convolution as tall as the picture, whose channels become the rows of the next picture [B, 1, W, S]."""

    def __init__(self, channels: int, height: int) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(channels, height, (height, 3), padding=(0, 1))
        self.norm = nn.BatchNorm2d(1)

    def forward(self, picture: Tensor) -> Tensor:
        return self.norm(nn.functional.elu(self.convolution(picture)).transpose(1, 2))


def heatmap(
    time_P: NDArray[np.float64],
    band_P: NDArray[np.float64],
    flux_P: NDArray[np.float64],
    error_P: NDArray[np.float64],
) -> NDArray[np.float64]:
    """The Gaussian process of one light curve on the grid of wavelengths and days: [2, W, S]; zeros without data.

    Parameters
    ----------
    time_P, band_P, flux_P, error_P
        Days, index in ``model.series.BANDS``, nJy, nJy (positive).
    """
    if len(time_P) == 0:
        return np.zeros((2, WAVELENGTHS, DAYS))
    significance_P = flux_P / np.hypot(error_P, SYSTEMATIC * np.abs(flux_P).max())
    scale = max(abs(float(flux_P[significance_P.argmax()])), float(np.median(error_P)))
    significant_P = significance_P >= min(5.0, float(significance_P.max()))
    peak_d = float(time_P[significant_P][flux_P[significant_P].argmax()])
    wavelength_P = np.asarray(WAVELENGTH_A)[band_P.astype(int)]
    bands = np.unique(wavelength_P)
    time = np.concatenate(
        [time_P, np.full(len(bands), time_P.min() - PADDING_D), np.full(len(bands), time_P.max() + PADDING_D)]
    )
    where = np.stack([time, np.concatenate([wavelength_P, bands, bands])], 1)
    flux = np.concatenate([flux_P, np.zeros(2 * len(bands))]) / scale
    error = np.concatenate([error_P, np.full(2 * len(bands), np.median(error_P))]) / scale
    kernel = ConstantKernel(0.25, (1e-4, 1e4)) * Matern(
        (TIME_SCALE_D, WAVELENGTH_SCALE_A),
        (TIME_SCALE_BOUNDS_D, (WAVELENGTH_SCALE_A * (1 - 1e-9), WAVELENGTH_SCALE_A * (1 + 1e-9))),
        nu=1.5,
    )
    process = GaussianProcessRegressor(kernel, alpha=error**2 + 1e-8)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a bound that is reached is a fair answer
        process.fit(where, flux)
    days = peak_d - DAYS_BEFORE_PEAK + np.arange(DAYS)
    step = (REDDEST_A - BLUEST_A) / WAVELENGTHS
    wavelengths = BLUEST_A + step * (0.5 + np.arange(WAVELENGTHS))
    grid = np.stack(np.meshgrid(days, wavelengths), -1).reshape(-1, 2)
    mean, deviation = process.predict(grid, return_std=True)
    picture = np.stack([mean, deviation]).reshape(2, WAVELENGTHS, DAYS)
    return picture / max(float(np.abs(picture[0]).max()), 1e-6)

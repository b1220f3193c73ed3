"""LSTM: two recurrent layers over the fluxes of nights, then two dense ones.

Legend: ``B`` objects, ``N`` nights, ``F`` features, ``K`` classes.

The published table names no reference, only about 60 k parameters: two layers of width 64 on five fluxes and a dense
layer of 128 have 60,292.
"""

from dataclasses import dataclass

from torch import Tensor, nn

from model.networks.contract import LightCurve
from model.networks.grouped import at_last_frame
from model.networks.nightly_photometry import FluxStandard, LightCurveNetwork, tabulate
from model.series import BANDS

DENSE_WIDTH = 128


@dataclass(frozen=True, slots=True)
class LstmConfig:
    """The defaults are the published size."""

    class_count: int = 4
    frame_limit: int = 99
    bands: str = "ugriz"
    hidden: int = 64
    layers: int = 2
    dropout: float = 0.1
    flux_mean_njy: tuple[float, ...] = (0.0,) * len(BANDS)
    flux_sigma_njy: tuple[float, ...] = (3_000.0,) * len(BANDS)


class Lstm(LightCurveNetwork):
    """Two recurrent layers over nights, then two dense ones."""

    name = "lstm"

    def __init__(self, config: LstmConfig) -> None:
        super().__init__()
        self.config = config
        self.frame_limit, self.feature_width = config.frame_limit, DENSE_WIDTH
        self.standard = FluxStandard(config.flux_mean_njy, config.flux_sigma_njy, config.bands)
        self.recurrent = nn.LSTM(
            len(config.bands), config.hidden, config.layers, batch_first=True, dropout=config.dropout
        )
        self.dense = nn.Linear(config.hidden, DENSE_WIDTH)
        self.dropout = nn.Dropout(config.dropout)
        self.output = nn.Linear(DENSE_WIDTH, config.class_count)

    def penultimate(self, embeddings_BGD: Tensor, curve: LightCurve) -> Tensor:
        self.check_length(curve.mask_BT.shape[1])
        nights = tabulate(curve, self.config.bands, best=False)
        state_BNF, _ = self.recurrent(self.standard(nights))
        return self.dense(at_last_frame(state_BNF, nights.mask_BN)).relu()

    def head(self, features_BF: Tensor) -> Tensor:
        return self.output(self.dropout(features_BF))

"""Epochs that packets tell of in, those that a series of stamps lacks out. Knows neither packets nor networks.

An alert carries the light curve of its object's recent past: detections whose stamps nobody sends again, and visits
at which nothing was seen. To a network that reads photometry they are epochs like the others, without pixels.

Legend: ``P`` epochs without stamp, ``T`` frames.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.series import Series

HISTORY_DAYS: Mapping[str, float] = {"ztf": 30.0, "lsst": 365.0}  # how far back a packet of the survey reaches
HISTORY_LIMIT = 96  # epochs that a network reads, and that are kept of one packet: the newest
LIMIT_SIGMA = 5.0  # of a limit over the error of its flux
SAME_VISIT_D = 1e-4  # 9 s: closer times in one band are one exposure, told twice


@dataclass(frozen=True, slots=True)
class History:
    """Epochs in time order; one at which nothing was seen has flux 0 and a ``LIMIT_SIGMA``-th of its limit as error."""

    time_P: NDArray[np.float64]  # on the clock of Series.time_T
    band_P: NDArray[np.int8]  # index in model.series.BANDS
    flux_P: NDArray[np.float32]  # point-source flux of the difference, nJy
    flux_error_P: NDArray[np.float32]  # nJy, positive

    def __len__(self) -> int:
        return len(self.time_P)

    def __getitem__(self, epochs: slice | NDArray) -> "History":
        return History(self.time_P[epochs], self.band_P[epochs], self.flux_P[epochs], self.flux_error_P[epochs])

    @staticmethod
    def joined(histories: Sequence["History"]) -> "History":
        """One after the other, whatever their times."""
        return History(
            np.concatenate([np.empty(0, np.float64), *(one.time_P for one in histories)]),
            np.concatenate([np.empty(0, np.int8), *(one.band_P for one in histories)]),
            np.concatenate([np.empty(0, np.float32), *(one.flux_P for one in histories)]),
            np.concatenate([np.empty(0, np.float32), *(one.flux_error_P for one in histories)]),
        )


def lacking(histories: Sequence[History], series: Series, limit: int = HISTORY_LIMIT) -> History:
    """What the packets of a series know of its past beside its own frames.

    Parameters
    ----------
    histories
        Of the packets of the frames; of a visit that several tell of, the first one's word counts.
    limit
        Most epochs of the answer: the newest before the last frame.

    Returns
    -------
    In order of (time, band); no visit twice, none that a frame shows, none later than the last frame.
    """
    told = History.joined(histories)
    told = told[told.time_P <= series.time_T[-1]]
    told = told[np.lexsort((told.time_P, told.band_P))]  # stable: the first packet's word first
    again_P = np.zeros(len(told), bool)
    again_P[1:] = (np.diff(told.time_P) < SAME_VISIT_D) & (np.diff(told.band_P) == 0)
    for band in np.unique(told.band_P):
        of_band_P = told.band_P == band
        shown = np.sort(series.time_T[series.band_T == band])
        if len(shown):
            times = told.time_P[of_band_P]
            after = np.searchsorted(shown, times).clip(max=len(shown) - 1)
            nearest = np.minimum(np.abs(shown[after] - times), np.abs(shown[(after - 1).clip(min=0)] - times))
            again_P[of_band_P] |= nearest < SAME_VISIT_D
    told = told[~again_P]
    told = told[np.lexsort((told.band_P, told.time_P))]
    return told[max(len(told) - limit, 0) :]

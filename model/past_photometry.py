"""Past photometry that a series of stamps lacks, from the epochs that packets tell. Knows neither packets nor networks.

An alert carries the light curve of its object's recent past: detections whose stamps nobody sends again, and visits
at which nothing was seen. To a network that reads photometry they are epochs like the others, without pixels.

Legend: ``P`` epochs without stamp, ``T`` frames.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.series import Photometry, Series

HISTORY_DAYS: Mapping[str, float] = {"ztf": 30.0, "lsst": 365.0}  # how far back a packet of the survey reaches
HISTORY_LIMIT = 96  # epochs that a network reads, and that are kept of one packet: the newest
LIMIT_SIGMA = 5.0  # of a limit over the error of its flux
SAME_VISIT_D = 1e-4  # 9 s: closer times in one band are one exposure, told twice
_BANDS_APART_D = 1e6  # on an axis of times that all bands share: longer than any series


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


NO_HISTORY = History.joined(())  # of a packet that tells nothing, or of a survey whose packets do not


def lacking(histories: Sequence[History], series: Photometry | Series, limit: int = HISTORY_LIMIT) -> History:
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
    epochs = History.joined(histories)
    order_P, again_P = repeated(epochs)
    asked_P = (epochs.time_P <= series.time_T[-1]) & ~of_visits(epochs, series.time_T, series.band_T)
    chosen = order_P[asked_P[order_P] & ~again_P]
    chosen = chosen[np.lexsort((epochs.band_P[chosen], epochs.time_P[chosen]))]
    return epochs[chosen[max(len(chosen) - limit, 0) :]]


def repeated(history: History) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Indices of epochs by band and time, and which of them, so ordered, tell of the visit before; the first stays."""
    visit_P = _on_one_axis(history.time_P, history.band_P)
    order_P = np.argsort(visit_P, kind="stable")
    return order_P, np.diff(visit_P[order_P], prepend=-np.inf) < SAME_VISIT_D


def of_visits(history: History, time_T: NDArray[np.float64], band_T: NDArray[np.integer]) -> NDArray[np.bool_]:
    """Which epochs are of visits at these times in these bands."""
    if not len(time_T):
        return np.zeros(len(history), bool)
    visit_P, taken = _on_one_axis(history.time_P, history.band_P), np.sort(_on_one_axis(time_T, band_T))
    after_P = np.searchsorted(taken, visit_P).clip(max=len(taken) - 1)
    nearest_P = np.minimum(np.abs(taken[after_P] - visit_P), np.abs(taken[(after_P - 1).clip(min=0)] - visit_P))
    return nearest_P < SAME_VISIT_D


def _on_one_axis(time_P: NDArray[np.float64], band_P: NDArray[np.integer]) -> NDArray[np.float64]:
    return time_P + _BANDS_APART_D * band_P

"""A series store whose observations came embedded: pixels stayed where the alert was decoded.

It keeps everything else, and shows the pipeline the embedding of each frame as if an earlier batch had left it there.
For networks that embed one frame at a time.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from broker_filter.errors import FatalError
from broker_filter.records import Observation
from broker_filter.series.lmdb.store import LmdbSeriesStore
from broker_filter.series.rows import group_tag
from broker_filter.series.store import (
    Change,
    Embedding,
    FrameKey,
    HeldSeries,
    Pixels,
)

NO_PIXELS = np.empty((0, 0, 0), np.float16)
NO_SCALE = np.empty(0, np.float32)


def without_pixels(observation: Observation) -> Observation:
    """The observation as it is kept once its frame is embedded."""
    return replace(observation, pixels=NO_PIXELS, scale_njy=NO_SCALE)


class EmbeddedSeriesStore(LmdbSeriesStore):
    """A temporary series store that is told embeddings before it is asked for series.

    Parameters
    ----------
    folder
        Made when absent.
    model_of_survey
        Survey -> ``"NAME VERSION"`` of the network that made the embeddings.
    """

    def __init__(self, folder: Path, model_of_survey: Mapping[str, str]) -> None:
        super().__init__(folder, sync=False)
        self._model_of_survey = model_of_survey
        self._offered: dict[tuple[str, int], NDArray[np.float32]] = {}
        self._fresh: dict[str, dict[int, Embedding]] = {}

    def offer(self, key: str, alert_id: int, values: NDArray[np.float32]) -> None:
        """Tell the embedding of a frame that ``add`` will bring; of a duplicate the first word counts."""
        self._offered.setdefault((key, alert_id), values)

    def add(self, arrivals: Sequence[tuple[str, Observation]]) -> dict[str, HeldSeries]:
        """Merge as the store does; each frame that was offered has its embedding."""
        held = super().add(arrivals)
        return {key: self._with_embeddings(series) for key, series in held.items()}

    def _with_embeddings(self, series: HeldSeries) -> HeldSeries:
        survey = series.key.partition("/")[0]
        fresh = self._fresh.setdefault(series.key, {})
        for index, alert_id in enumerate(series.alert_ids.tolist()):
            values = self._offered.get((series.key, alert_id))
            rank = series.dropped + index
            if values is not None and rank not in series.embeddings:
                tag = group_tag(self._model_of_survey[survey], series.alert_ids[index : index + 1])
                fresh[rank] = Embedding(tag, values)
        return replace(series, embeddings={**series.embeddings, **fresh})

    def pixels(self, frames: Sequence[FrameKey]) -> dict[FrameKey, Pixels]:
        """Pixels of frames that came with them.

        Raises
        ------
        FatalError
            When one came without, and so embedded, but is asked for all the same.
        """
        pixels_of = super().pixels(frames)
        if bare := [frame for frame, (pixels, _) in pixels_of.items() if pixels.size == 0]:
            raise FatalError(f"{len(bare)} frames came neither with pixels nor embedded, the first of {bare[0].key}: "
                             "the work folder is damaged; start again with another --work")  # fmt: skip
        return pixels_of

    def settle(self, changes: Sequence[Change]) -> None:
        """Keep the embeddings that were offered, with the rest."""
        super().settle([replace(c, embeddings={**self._fresh.get(c.key, {}), **c.embeddings}) for c in changes])
        self._fresh.clear()
        self._offered.clear()

"""The reading of every row of a store, for ``inspect``: what is there, and what is not as it was written."""

from collections.abc import Sequence

from broker_filter.series.rows import (
    CorruptStoreError,
    ObjectRow,
    decode_embedding,
    decode_pixels,
    is_settled,
    key_of,
)
from broker_filter.series.store import DAMAGE_LINES, Inspection

Row = bytes | memoryview


class Inspector:
    """Counts of one pass through a store."""

    def __init__(self) -> None:
        self._objects = self._observations = self._unsettled = self._embeddings = self._damage = 0
        self._lines: list[str] = []

    def look(self, prefix: bytes, object_row: Row | None, rows: Sequence[Row], embeddings: Sequence[Row]) -> None:
        """Enter one object; ``object_row`` None where the engine keeps none."""
        self._objects += 1
        try:
            key = key_of(prefix)
            if object_row is not None:
                held = ObjectRow.decode(object_row, key).held
                if held != len(rows):
                    self.complain(f"{key}: {len(rows)} observations, {held} expected")
        except CorruptStoreError as error:
            self.complain(str(error))
            return
        for row in rows:
            self._observations += 1
            try:
                decode_pixels(row, key)
                self._unsettled += not is_settled(row)
            except CorruptStoreError as error:
                self.complain(str(error))
        for row in embeddings:
            self._embeddings += 1
            try:
                decode_embedding(row, key)
            except CorruptStoreError as error:
                self.complain(str(error))

    def compare(self, totals: Sequence[int], rows: int) -> None:
        """Hold the store's own totals, and its number of rows, against what was seen."""
        if list(totals[:2]) != [self._objects, self._observations]:
            self.complain(
                f"{self._objects} objects and {self._observations} observations, {totals[0]} and {totals[1]} expected"
            )
        if rows != self._observations:
            self.complain(f"{rows} rows, of which {self._observations} belong to an object")

    def complain(self, line: str) -> None:
        """Enter something damaged."""
        self._damage += 1
        if len(self._lines) < DAMAGE_LINES:
            self._lines.append(line)

    def result(self) -> Inspection:
        """Everything seen."""
        return Inspection(
            self._objects, self._observations, self._unsettled, self._embeddings, tuple(self._lines), self._damage
        )

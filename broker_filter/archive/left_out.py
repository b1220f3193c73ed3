"""Files and members of an archive that were not read at all, counted by reason with a few examples."""

from collections import Counter
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any

EXAMPLES_KEPT = 3


class LeftOut(StrEnum):
    """Why something was not read; what was read and is no alert is rejected instead."""

    OTHER_NAME = "other_name"  # in a folder or an archive, and not named like alerts
    EMPTY_ARCHIVE = "empty_archive"  # a sound archive without any member
    NESTED_ARCHIVE = "nested_archive"  # an archive within an archive
    LINK_OUTSIDE = "link_outside"  # a link out of its archive, which is never followed
    LINK_BROKEN = "link_broken"  # a link to nothing that could be read, or in a circle
    FOLDER_TWICE = "folder_twice"  # a folder that a link leads to again
    SPECIAL_FILE = "special_file"  # a device, pipe or socket


class LeftOutCounts:
    """Counts and examples of what was left out; grows with the number of reasons alone."""

    def __init__(self) -> None:
        self._counts: Counter[LeftOut] = Counter()
        self._examples: dict[LeftOut, list[str]] = {}

    def add(self, reason: LeftOut, source: str) -> None:
        """Count one thing that was not read."""
        self._counts[reason] += 1
        examples = self._examples.setdefault(reason, [])
        if len(examples) < EXAMPLES_KEPT:
            examples.append(source)

    def add_all(self, other: "LeftOutCounts") -> None:
        """Count what somebody else left out."""
        for reason, count in other._counts.items():
            self._counts[reason] += count
            examples = self._examples.setdefault(reason, [])
            examples += other._examples[reason][: EXAMPLES_KEPT - len(examples)]

    def to_json(self) -> dict[str, list[Any]]:
        """Reason -> number and examples."""
        return {str(reason): [self._counts[reason], self._examples[reason]] for reason in self._counts}

    @classmethod
    def from_json(cls, table: Mapping[str, Sequence[Any]]) -> "LeftOutCounts":
        counts = cls()
        for reason, (count, examples) in table.items():
            counts._counts[LeftOut(reason)] = count
            counts._examples[LeftOut(reason)] = list(examples)
        return counts

    @property
    def by_reason(self) -> dict[str, int]:
        """Numbers by reason, in the order of the reasons."""
        return {str(reason): self._counts[reason] for reason in LeftOut if self._counts[reason]}

    def __bool__(self) -> bool:
        return bool(self._counts)

    def __str__(self) -> str:
        parts = []
        for reason in LeftOut:
            if count := self._counts[reason]:
                more = ", ..." if count > EXAMPLES_KEPT else ""
                parts.append(f"{count} {reason} ({', '.join(self._examples[reason])}{more})")
        return "; ".join(parts)

"""Errors by what to do about them: reject this alert, do not classify it, retry, or stop.

Every message states the value, the limit and the remedy. The reasons are closed lists: they label metrics and outputs.
"""

from collections.abc import Collection
from enum import StrEnum


class Rejection(StrEnum):
    """Why bytes never became an alert of a survey we read. The original bytes go to the dead-letter topic."""

    NOT_AVRO = "not_avro"  # neither a Confluent frame, nor an object container, nor a datum of the named schema
    CORRUPT = "corrupt"  # an Avro that breaks off, or whose lengths lie
    EMPTY = "empty"  # a sound container without any record: nothing was lost, and nothing is passed over in silence
    TOMBSTONE = "tombstone"  # a null value, as compacted topics have: nothing that could be read again
    BAD_SCHEMA = "bad_schema"  # the writer's schema does not parse
    UNKNOWN_SCHEMA_ID = "unknown_schema_id"  # no source knows this schema id
    FOREIGN_SURVEY = "foreign_survey"  # a valid packet of a survey that we do not read
    MISSING_FIELD = "missing_field"  # a field that we need is absent or null
    BAD_VALUE = "bad_value"  # NaN time, unknown band, negative zero point ...
    BAD_STAMP = "bad_stamp"  # a stamp that lies about its size, or does not inflate
    TOO_LARGE = "too_large"  # over a limit on sizes or numbers
    INTERNAL = "internal"  # decoding raised what nobody foresaw: a bug of ours, and still this alert's alone


class NotClassified(StrEnum):
    """Why a good alert has no classification."""

    NO_STAMPS = "no_stamps"  # a stamp that the network reads is null
    UNSUPPORTED_STAMP = "unsupported_stamp"  # pixels without calibration (JPEG), or beyond what networks compute with
    BLANK_STAMP = "blank_stamp"  # no finite pixel
    SOLAR_SYSTEM = "solar_system"  # it moves: no series at a fixed position; its packet answers instead
    UNSUPPORTED_BAND = "unsupported_band"  # a band that the network was not trained on
    WITHDRAWN = "withdrawn"  # the survey took this source back
    TOO_LATE = "too_late"  # older than the oldest observation that the full series still holds


class RejectedAlertError(Exception):
    """These bytes are not an alert that we can read; the stream goes on without them."""

    def __init__(self, reason: Rejection, detail: str, exception: str = "") -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail
        self.exception = exception  # type of what was raised, where the reason is INTERNAL


class NotClassifiedError(Exception):
    """A good alert that gets no classification, with the reason."""

    def __init__(self, reason: NotClassified, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


class RetryableError(Exception):
    """Not the alert's fault and may pass: broker away, store away, device out of memory. Try the same batch again."""


class ContendedError(RetryableError):
    """Another process works on alerts of the same object: read the batch's messages again, it may have been put out."""


class AwaitedError(RetryableError):
    """Some messages of a batch cannot be decoded yet, for their schema is not told: the others need not wait."""

    def __init__(self, cause: RetryableError, places: Collection[int]) -> None:
        super().__init__(str(cause))
        self.places = frozenset(places)  # of those messages in the batch


class FatalError(Exception):
    """Not the alert's fault and will not pass by itself: the service stops, and no offset is committed."""


class ConfigurationError(FatalError):
    """A setting is wrong: the message names it, its value and what is allowed."""

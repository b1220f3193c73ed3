"""The door to schemas that are kept elsewhere, for instance in a registry; who asks knows no HTTP."""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class RegisteredSchema:
    """The text of a schema, and of the schemas whose types it names, the innermost first."""

    text: str
    named: tuple[str, ...] = ()


class SchemaSource(Protocol):
    """Who knows schemas by id."""

    def schema(self, schema_id: int) -> RegisteredSchema:
        """The schema of an id.

        Raises
        ------
        RejectedAlertError
            ``UNKNOWN_SCHEMA_ID`` when this id is not to be had, ``BAD_SCHEMA`` when it is no Avro schema.
        RetryableError
            When the source does not answer for now.
        ConfigurationError
            When it refuses us.
        """
        ...

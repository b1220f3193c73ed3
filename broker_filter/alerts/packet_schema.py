"""A schema id or a schema's text enters, a compiled packet schema leaves; this room knows no message and no alert.

Sources by id, in order: the survey's own package (bundled with the program), a folder, a registry. Schemas never change
under their id and are kept for ever, so that an outage of the registry is survived by every schema that is known.
"""

import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import Any

from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.common._httpx_compat import httpx  # whichever of the two that the client uses
from confluent_kafka.schema_registry.error import SchemaRegistryError
from fastavro.repository.base import SchemaRepositoryError
from fastavro.schema import SchemaParseException, UnknownType, load_schema

from broker_filter.alerts.survey import Survey, recognise
from broker_filter.avro.parse import parse_schema, parse_tree
from broker_filter.avro.projection import Schema, compile_reader, compile_skipper
from broker_filter.errors import ConfigurationError, RejectedAlertError, Rejection, RetryableError

REGISTRY_TIMEOUT_S = 5.0  # of one request; the service tries the batch again
UNKNOWN_ID_RETRY_S = 60.0  # an id that nobody knew is looked for again after this time
UNKNOWN_IDS_KEPT = 64
CONTAINER_SCHEMAS_KEPT = 64  # surveys change theirs a few times a year; bounded against schemas made up by a sender
_NOT_FOUND = 404
_FORBIDDEN = (401, 403)
_IDS_PER_MAJOR = 100  # LSST's rule: id = 100 * major + minor


class PacketSchema:
    """A schema with what is compiled from it: the survey that it describes and the readers of its packets."""

    def __init__(self, schema: Schema) -> None:
        self.schema = schema
        self.survey: Survey | None = recognise(schema)
        record = schema.record(schema.root) or {}
        self.name: str = record.get("name", "")
        self.version: str = record.get("version", "") or _version_in_name(self.name)

    @cached_property
    def read(self) -> Callable[[bytes], dict[str, Any]]:
        """Reader of the fields of an alert; nothing is read of a survey that we do not know."""
        return compile_reader(self.schema, self.survey.wanted if self.survey else {})

    @cached_property
    def read_with_history(self) -> Callable[[bytes], dict[str, Any]]:
        """Reader of the fields of an alert and of the epochs of the past that a network reads."""
        return compile_reader(self.schema, {**self.survey.wanted, **self.survey.history} if self.survey else {})

    @cached_property
    def read_light_curve(self) -> Callable[[bytes], dict[str, Any]]:
        """Reader of every epoch of the past that the packet carries."""
        return compile_reader(self.schema, {**self.survey.history, **self.survey.forced} if self.survey else {})

    @cached_property
    def skip(self) -> Callable[[bytes, int], int]:
        """Step from the start of a datum to the position behind it."""
        return compile_skipper(self.schema)


class Schemas:
    """All schemas that the program has met.

    Parameters
    ----------
    registry_url
        Confluent-protocol schema registry; None: there is none.
    registry_settings
        Further keys for confluent-kafka's client, for instance ``basic.auth.user.info``.
    folder
        Schemas as ``ID.avsc``, ``ID.json`` or, in any sub-folder, ``lsst.vMAJOR_MINOR.alert.avsc``.
    bare_schema
        File with the schema of bare datums; None: they are rejected.
    clock
        Monotonic seconds.
    """

    def __init__(
        self,
        *,
        registry_url: str | None = None,
        registry_settings: Mapping[str, Any] | None = None,
        folder: Path | None = None,
        bare_schema: Path | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if folder is not None and not folder.is_dir():
            raise ConfigurationError(f"schema folder {folder} is not a folder")
        self._folder = folder
        self._registry = None
        if registry_url is not None:
            # The client gets no retries of its own: retrying is the service's work, and it must not block here.
            conf = {"url": registry_url, "timeout": REGISTRY_TIMEOUT_S, "max.retries": 0, **(registry_settings or {})}
            try:
                self._registry = SchemaRegistryClient(conf)
            except (ValueError, TypeError) as error:
                raise ConfigurationError(f"schema registry {registry_url}: {error}") from error
        self.bare: PacketSchema | None = None if bare_schema is None else load_packet_schema(bare_schema)
        self._by_id: dict[int, PacketSchema] = {}
        self._unknown_until: dict[int, float] = {}
        self._by_text: OrderedDict[bytes, PacketSchema | RejectedAlertError] = OrderedDict()
        self._clock = clock

    def of_container(self, text: bytes) -> PacketSchema:
        """Return the schema that a container carries.

        Raises
        ------
        RejectedAlertError
            As ``parse_schema``; the refusal is remembered too.
        """
        known = self._by_text.get(text)
        if known is None:
            try:
                known = PacketSchema(parse_schema(text))
            except RejectedAlertError as error:
                known = error
            self._by_text[text] = known
            if len(self._by_text) > CONTAINER_SCHEMAS_KEPT:
                self._by_text.popitem(last=False)
        if isinstance(known, RejectedAlertError):
            raise RejectedAlertError(known.reason, known.detail)
        return known

    def by_id(self, schema_id: int) -> PacketSchema:
        """Return the schema with this id.

        Raises
        ------
        RejectedAlertError
            ``UNKNOWN_SCHEMA_ID`` when no source knows it.
        RetryableError
            When the registry, the last source, does not answer.
        """
        known = self._by_id.get(schema_id)
        if known is None:
            known = self._by_id[schema_id] = self._find(schema_id)
        return known

    def _find(self, schema_id: int) -> PacketSchema:
        if self._clock() < self._unknown_until.get(schema_id, 0.0):
            raise RejectedAlertError(Rejection.UNKNOWN_SCHEMA_ID, self._unknown(schema_id))
        for folder in (_bundled_folder(), self._folder):
            path = None if folder is None else _file_of(folder, schema_id)
            if path is not None:
                return load_packet_schema(path)
        if self._registry is None:
            raise self._remember_unknown(schema_id)
        return self._ask_registry(self._registry, schema_id)

    def _unknown(self, schema_id: int) -> str:
        asked = "and no registry" if self._registry is None else "nor known to the registry"
        return f"schema id {schema_id}: not bundled, not in the folder, {asked}"

    def _remember_unknown(self, schema_id: int) -> RejectedAlertError:
        if len(self._unknown_until) >= UNKNOWN_IDS_KEPT:
            self._unknown_until.clear()
        self._unknown_until[schema_id] = self._clock() + UNKNOWN_ID_RETRY_S
        return RejectedAlertError(Rejection.UNKNOWN_SCHEMA_ID, self._unknown(schema_id))

    def _ask_registry(self, registry: SchemaRegistryClient, schema_id: int) -> PacketSchema:
        try:
            answer = registry.get_schema(schema_id)
        except SchemaRegistryError as error:
            if error.http_status_code == _NOT_FOUND:
                raise self._remember_unknown(schema_id) from error
            if error.http_status_code in _FORBIDDEN:
                raise ConfigurationError(f"the schema registry refuses us: {error}") from error
            raise RetryableError(f"schema id {schema_id}: the registry answers {error}") from error
        except (httpx.HTTPError, OSError, ValueError) as error:
            raise RetryableError(f"schema id {schema_id}: the registry does not answer: {error}") from error
        if answer.schema_str is None or answer.schema_type not in (None, "AVRO"):
            raise RejectedAlertError(
                Rejection.BAD_SCHEMA, f"schema id {schema_id} is {answer.schema_type}, only AVRO is read"
            )
        return PacketSchema(parse_schema(answer.schema_str))


def load_packet_schema(path: Path) -> PacketSchema:
    """Load a schema file, which may name types that stand in files beside it.

    Raises
    ------
    ConfigurationError
        When it cannot be read or is no schema.
    """
    try:
        try:
            return PacketSchema(parse_schema(path.read_bytes()))
        except RejectedAlertError:
            return PacketSchema(parse_tree(load_schema(str(path))))  # finds the named types beside it
    except (OSError, ValueError, SchemaRepositoryError, SchemaParseException, UnknownType) as error:
        raise ConfigurationError(f"schema file {path} cannot be used: {error}") from error


def bundled_schema_file(schema_id: int) -> Path | None:
    """Return the file of a schema in the survey's own package, or None."""
    return _file_of(_bundled_folder(), schema_id)


def _bundled_folder() -> Path:
    return Path(str(files("lsst.alert.packet"))) / "schema"


def _file_of(folder: Path, schema_id: int) -> Path | None:
    major, minor = divmod(schema_id, _IDS_PER_MAJOR)
    name = f"lsst.v{major}_{minor}.alert.avsc"
    for path in (folder / f"{schema_id}.avsc", folder / f"{schema_id}.json", folder / str(major) / str(minor) / name):
        if path.is_file():
            return path
    return next(iter(sorted(folder.rglob(name))), None)


def _version_in_name(name: str) -> str:
    """Return "10.0" of ``lsst.v10_0.alert``, or nothing."""
    for part in name.split("."):
        if part.startswith("v") and part[1:].replace("_", "").isdigit():
            return part[1:].replace("_", ".")
    return ""

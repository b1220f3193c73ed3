"""Compiled packet schemas, by schema id or by the schema's text. Knows no message and no alert.

Sources by id, in order: a registry, where one is set; a folder; the survey's own package (bundled with the program). A
registry that does not answer is survived by every schema that is known, and by those of the folder and the package;
what these gave is compared with the registry's as soon as it answers. Schemas never change under their id.
"""

import hashlib
import math
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import Any

from fastavro.repository.base import SchemaRepositoryError
from fastavro.schema import SchemaParseException, UnknownType, load_schema

from broker_filter.alerts.schema_source import SchemaSource
from broker_filter.alerts.survey import AlertSurvey, recognise
from broker_filter.avro.parse import MAX_SCHEMA_BYTES, parse_schema, parse_tree
from broker_filter.avro.projection import Node, Schema, compile_reader, compile_skipper
from broker_filter.errors import ConfigurationError, FatalError, RejectedAlertError, Rejection, RetryableError

UNKNOWN_ID_RETRY_S = 60.0  # an id that nobody knew is looked for again after this time
COMPARE_AGAIN_S = 30.0  # a registry that did not answer is asked again for what was used instead; then less often
COMPARE_RARELY_S = 600.0  # ... as is one that did not want to say
UNKNOWN_IDS_KEPT = 4096
CONTAINER_SCHEMAS_KEPT = 64  # surveys change theirs a few times a year; bounded against schemas made up by a sender
_NO_SCHEMA = (RecursionError, SchemaParseException, SchemaRepositoryError, TypeError, UnknownType, ValueError)
_IDS_PER_MAJOR = 100  # LSST's rule: id = 100 * major + minor


class PacketSchema:
    """A schema with what is compiled from it: the survey that it describes and the readers of its packets."""

    def __init__(self, schema: Schema) -> None:
        self.schema = schema
        self.survey: AlertSurvey | None = recognise(schema)
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
    def read_with_withdrawals(self) -> Callable[[bytes], dict[str, Any]]:
        """Reader of the fields of an alert and of whether earlier sources were taken back."""
        return compile_reader(self.schema, {**self.survey.wanted, **self.survey.withdrawals} if self.survey else {})

    @cached_property
    def read_withdrawn(self) -> Callable[[bytes], dict[str, Any]]:
        """Reader of the earlier sources, one by one: for packets in which one was taken back."""
        return compile_reader(self.schema, self.survey.withdrawn if self.survey else {})

    @cached_property
    def read_light_curve(self) -> Callable[[bytes], dict[str, Any]]:
        """Reader of every epoch of the past that the packet carries."""
        return compile_reader(self.schema, {**self.survey.history, **self.survey.forced} if self.survey else {})

    @cached_property
    def skip(self) -> Callable[[bytes, int], int]:
        """Step from the start of a datum to the position behind it."""
        return compile_skipper(self.schema)


@dataclass(frozen=True, slots=True)
class _AskAgain:
    """When the registry is asked again for a schema that stands in for its own, and how long it was left alone."""

    at_s: float
    pause_s: float


class Schemas:
    """All schemas that the program has met.

    Parameters
    ----------
    registry
        Who knows schemas by id; None: nobody but the folder and the package.
    folder
        Schemas as ``ID.avsc``, ``MAJOR.MINOR.avsc`` (of LSST, whose ids are 100 * major + minor), either with ``.json``
        too, or, in any sub-folder, ``lsst.vMAJOR_MINOR.alert.avsc``.
    bare_schema
        File with the schema of bare datums; None: they are rejected.
    clock
        Monotonic seconds.
    """

    def __init__(
        self,
        *,
        registry: SchemaSource | None = None,
        folder: Path | None = None,
        bare_schema: Path | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if folder is not None and not folder.is_dir():
            raise ConfigurationError(f"schema folder {folder} is not a folder")
        self._folder = folder
        self._registry = registry
        self.bare: PacketSchema | None = None if bare_schema is None else load_packet_schema(bare_schema)
        self._by_id: dict[int, PacketSchema] = {}
        self._unconfirmed: dict[int, _AskAgain] = {}  # used because the registry gave none
        self._below: dict[Path, tuple[float, Mapping[str, Path]]] = {}  # folders, when they were looked through
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
        elif (again := self._unconfirmed.get(schema_id)) is not None and self._clock() >= again.at_s:
            self._compare(schema_id, known, again)
        return known

    def _find(self, schema_id: int) -> PacketSchema:
        if self._clock() < self._unknown_until.get(schema_id, 0.0):
            raise RejectedAlertError(Rejection.UNKNOWN_SCHEMA_ID, self._unknown(schema_id))
        why: RetryableError | RejectedAlertError | None = None
        if self._registry is not None:
            try:
                return _registered(self._registry, schema_id)
            except RetryableError as error:
                why = error
            except RejectedAlertError as error:
                if error.reason != Rejection.UNKNOWN_SCHEMA_ID:
                    raise
                why = error
        for folder in (self._folder, _bundled_folder()):
            path = None if folder is None else self._file_below(folder, schema_id)
            if path is not None:
                if why is not None:
                    pause_s = COMPARE_AGAIN_S if isinstance(why, RetryableError) else COMPARE_RARELY_S
                    self._unconfirmed[schema_id] = _AskAgain(self._clock() + pause_s, pause_s)
                return load_packet_schema(path)
        if isinstance(why, RetryableError):
            raise why
        self._remember_unknown(schema_id)
        raise why or RejectedAlertError(Rejection.UNKNOWN_SCHEMA_ID, self._unknown(schema_id))

    def _compare(self, schema_id: int, used: PacketSchema, again: _AskAgain) -> None:
        """Hold a schema that stood in for the registry's against it, once it answers."""
        assert self._registry is not None
        pause_s = min(2 * again.pause_s, COMPARE_RARELY_S)
        self._unconfirmed[schema_id] = _AskAgain(self._clock() + pause_s, pause_s)
        try:
            registered: PacketSchema | None = _registered(self._registry, schema_id)
        except RetryableError:
            return
        except RejectedAlertError as error:
            if error.reason == Rejection.UNKNOWN_SCHEMA_ID:
                return  # it will not say for now: what the program brings along holds
            registered = None  # it has something else there
        if registered is None or fingerprint(registered.schema) != fingerprint(used.schema):
            raise FatalError(
                f"schema id {schema_id} of the registry is another than the one of the program or of registry.folder, "
                "which was used while the registry did not answer: what was read of it since the start is wrong. "
                "Nothing of this batch is committed; start again, and read those messages again (Replay one night)"
            )
        self._unconfirmed.pop(schema_id, None)

    def _unknown(self, schema_id: int) -> str:
        elsewhere = "and no registry" if self._registry is None else "nor known to the registry"
        return f"schema id {schema_id}: not bundled, not in the folder, {elsewhere}"

    def _remember_unknown(self, schema_id: int) -> None:
        if len(self._unknown_until) >= UNKNOWN_IDS_KEPT:
            del self._unknown_until[next(iter(self._unknown_until))]  # the one that was looked for first
        self._unknown_until[schema_id] = self._clock() + UNKNOWN_ID_RETRY_S

    def _file_below(self, folder: Path, schema_id: int) -> Path | None:
        """As ``_file_of``, or of the survey's own name anywhere below; the folder is looked through once a minute."""
        if (path := _file_of(folder, schema_id)) is not None:
            return path
        seen_s, names = self._below.get(folder, (-math.inf, {}))
        if self._clock() - seen_s >= UNKNOWN_ID_RETRY_S:
            names = {path.name: path for path in sorted(folder.rglob("lsst.v*.alert.avsc"), reverse=True)}
            self._below[folder] = self._clock(), names
        return names.get(_survey_name(schema_id))


def _registered(registry: SchemaSource, schema_id: int) -> PacketSchema:
    answer = registry.schema(schema_id)
    return PacketSchema(parse_schema(answer.text, answer.named))


def fingerprint(schema: Schema) -> bytes:
    """A digest of the layout that data of a schema have: equal for schemas that read the same bytes alike."""
    known: dict[str, bytes] = {}

    def of(node: Node) -> bytes:
        if isinstance(node, str):
            if node not in known:
                known[node] = of(schema.types[node]) if node in schema.types else node.encode()
            return known[node]
        if isinstance(node, list):
            parts = [b"union", *map(of, node)]
        elif node["type"] == "record":
            parts = [b"record"]
            for name, kind in node["by_name"].items():
                parts += [name.encode(), of(kind)]
        elif node["type"] == "array":
            parts = [b"array", of(node["items"])]
        elif node["type"] == "map":
            parts = [b"map", of(node["entry"])]
        else:
            parts = [repr(sorted(node.items())).encode()]
        return hashlib.blake2b(b"".join(len(part).to_bytes(4, "big") + part for part in parts)).digest()

    return of(schema.root)


def load_packet_schema(path: Path) -> PacketSchema:
    """Load a schema file, which may name types that stand in files beside it.

    Raises
    ------
    ConfigurationError
        When it cannot be read or is no schema.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MAX_SCHEMA_BYTES + 1)
        if len(content) > MAX_SCHEMA_BYTES:
            raise ConfigurationError(f"schema file {path} has more than {MAX_SCHEMA_BYTES} bytes: no schema does")
        try:
            return PacketSchema(parse_schema(content))
        except RejectedAlertError:
            return PacketSchema(parse_tree(load_schema(str(path))))  # finds the named types beside it
    except (*_NO_SCHEMA, OSError) as error:
        raise ConfigurationError(f"schema file {path} cannot be used: {error}") from error


def bundled_schema_file(schema_id: int) -> Path | None:
    """Return the file of a schema in the survey's own package, or None."""
    return _file_of(_bundled_folder(), schema_id)


def _bundled_folder() -> Path:
    return Path(str(files("lsst.alert.packet"))) / "schema"


def _survey_name(schema_id: int) -> str:
    major, minor = divmod(schema_id, _IDS_PER_MAJOR)
    return f"lsst.v{major}_{minor}.alert.avsc"


def _file_of(folder: Path, schema_id: int) -> Path | None:
    major, minor = divmod(schema_id, _IDS_PER_MAJOR)
    stems = (str(schema_id), f"{major}.{minor}")
    paths = [folder / f"{stem}{ending}" for stem in stems for ending in (".avsc", ".json")]
    for path in (*paths, folder / str(major) / str(minor) / _survey_name(schema_id)):
        if path.is_file():
            return path
    return None


def _version_in_name(name: str) -> str:
    """Return "10.0" of ``lsst.v10_0.alert``, or nothing."""
    for part in name.split("."):
        if part.startswith("v") and part[1:].replace("_", "").isdigit():
            return part[1:].replace("_", ".")
    return ""

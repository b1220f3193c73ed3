"""The classes we publish and their codes in the field's taxonomy, read from ``taxonomy.json`` or a file like it."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from types import MappingProxyType
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from model.json_text import parse_json

# Objects of each class among those that a survey itself labelled: of SDSS, supernovae by their spectra. Nobody has
# counted so what ZTF and LSST send.
NATURAL_MIX = MappingProxyType({"sdss": MappingProxyType({"AGN": 906, "SNIa": 499, "Variable": 3225, "SNOther": 89})})
SUPERNOVAE = ("SNIa", "SNOther")  # of our own classes
SHOWN = 60  # characters of a wrong name
LARGEST_BYTES, MOST_CLASSES = 1 << 20, 1_000  # of a file, far beyond any taxonomy in use
CLASS_NAME = r"^\w{1,32}$"  # of letters, digits and _: it becomes keys, labels of metrics, columns
Code = Annotated[int, Field(ge=0, le=99_999)]
Name = Annotated[str, Field(pattern=CLASS_NAME)]


def check_class_names(names: Iterable[str]) -> None:
    """Refuse a name that could be no key, label of a metric or column.

    Raises
    ------
    ValueError
        Naming the first.
    """
    for name in names:
        if not re.fullmatch(CLASS_NAME, name):
            raise ValueError(f"{name[:SHOWN]!r} is no name of a class: 1 to 32 letters, digits and _")


class TaxonomyError(ValueError):
    """A file that holds no taxonomy; the message names the file and what is wrong."""


@dataclass(frozen=True, slots=True)
class Taxonomy:
    """Class names in the order of the network's outputs, with ELAsTiCC codes."""

    version: str
    classes: tuple[str, ...]
    codes: dict[str, int]  # class, group or subtype -> ELAsTiCC code
    not_classified_code: int
    groups: dict[str, tuple[str, ...]] = field(default_factory=dict)  # classes that are one at the first level

    def group_of(self, name: str) -> str:
        """The class of the first level that a class belongs to: its group, or itself."""
        return next((group for group, members in self.groups.items() if name in members), name)

    def broad(self, probabilities: Mapping[str, float]) -> dict[str, float]:
        """Probabilities of the first level: of a group, the sum over its classes."""
        of_group: dict[str, float] = {}
        for name, probability in probabilities.items():
            group = self.group_of(name)
            of_group[group] = of_group.get(group, 0.0) + probability
        return of_group


class _Class(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    elasticc: Code
    meaning: str = ""


class _Group(_Class):
    classes: Annotated[tuple[Name, ...], Field(min_length=1, strict=False)]


class _TaxonomyTable(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    version: Annotated[str, Field(min_length=1)]
    comment: str = ""
    not_classified: Code
    classes: Annotated[dict[Name, _Class], Field(min_length=1, max_length=MOST_CLASSES)]
    groups: dict[Name, _Group] = {}
    subtypes: dict[Name, Code] = {}


def load_taxonomy(path: Path | None = None) -> Taxonomy:
    """Read a taxonomy's file; the one that the package ships when ``path`` is None.

    Raises
    ------
    TaxonomyError
        When there is no such file, or it is malformed.
    """
    where = resources.files("model").joinpath("taxonomy.json") if path is None else path
    try:
        with where.open("rb") as file:
            content = file.read(LARGEST_BYTES + 1)
    except OSError as exc:
        raise TaxonomyError(f"the taxonomy {where} cannot be read: {exc.strerror}") from exc
    if len(content) > LARGEST_BYTES:
        raise TaxonomyError(f"{where} is no taxonomy: it has more than {LARGEST_BYTES} bytes")
    try:
        return _parse(content)
    except ValidationError as exc:
        fault = exc.errors(include_url=False)[0]
        key = ".".join(str(step) for step in fault["loc"])
        raise TaxonomyError(f"{where} is no taxonomy: {key or 'it'}: {fault['msg']}") from exc
    except ValueError as exc:
        raise TaxonomyError(f"{where} is no taxonomy: {exc}") from exc


def _parse(content: bytes) -> Taxonomy:
    table = _TaxonomyTable.model_validate(parse_json(content))
    _check_names(table)
    codes = {name: entry.elasticc for name, entry in (table.classes | table.groups).items()} | table.subtypes
    groups = {name: group.classes for name, group in table.groups.items()}
    return Taxonomy(table.version, tuple(table.classes), codes, table.not_classified, groups)


def _check_names(table: _TaxonomyTable) -> None:
    """Every name stands in one place, and groups are made of classes, each in one group at most."""
    if twice := table.classes.keys() & table.subtypes.keys():
        raise ValueError(f"{', '.join(sorted(twice))} stands among classes and subtypes: name it once")
    if twice := table.groups.keys() & (table.classes.keys() | table.subtypes.keys()):
        raise ValueError(f"{', '.join(sorted(twice))} is a group and a class or subtype: name it once")
    members = Counter(name for group in table.groups.values() for name in group.classes)
    if foreign := members.keys() - table.classes.keys():
        raise ValueError(f"a group holds {', '.join(sorted(foreign))}, which is no class")
    if shared := {name for name, count in members.items() if count > 1}:
        raise ValueError(f"{', '.join(sorted(shared))} stands in groups twice")

"""The classes we publish and their codes in the field's taxonomy, read from ``taxonomy.json`` or a file like it."""

import json
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from types import MappingProxyType
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

# Objects of each class among those that a survey itself labelled: of SDSS, supernovae by their spectra. Nobody has
# counted so what ZTF and LSST send.
NATURAL_MIX = MappingProxyType({"sdss": MappingProxyType({"AGN": 906, "SNIa": 499, "Variable": 3225, "SNOther": 89})})
Code = Annotated[int, Field(ge=0, le=99_999)]
Name = Annotated[str, Field(pattern=r"^\w+$", max_length=32)]


class TaxonomyError(ValueError):
    """A file that holds no taxonomy; the message names the file and what is wrong."""


@dataclass(frozen=True, slots=True)
class Taxonomy:
    """Class names in the order of the network's outputs, with ELAsTiCC codes."""

    version: str
    classes: tuple[str, ...]
    codes: dict[str, int]  # class or subtype -> ELAsTiCC code
    not_classified_code: int


class _Class(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    elasticc: Code
    meaning: str = ""


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    version: Annotated[str, Field(min_length=1)]
    comment: str = ""
    not_classified: Code
    classes: Annotated[dict[Name, _Class], Field(min_length=1)]
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
        content = where.read_bytes()
    except OSError as exc:
        raise TaxonomyError(f"the taxonomy {where} cannot be read: {exc.strerror}") from exc
    try:
        return _parse(content)
    except ValidationError as exc:
        fault = exc.errors(include_url=False)[0]
        key = ".".join(str(step) for step in fault["loc"])
        raise TaxonomyError(f"{where} is no taxonomy: {key or 'it'}: {fault['msg']}") from exc
    except (ValueError, RecursionError) as exc:
        raise TaxonomyError(f"{where} is no taxonomy: {exc}") from exc


def _parse(content: bytes) -> Taxonomy:
    table = _Table.model_validate(json.loads(content.decode("utf-8"), object_pairs_hook=_without_twins))
    if twice := table.classes.keys() & table.subtypes.keys():
        raise ValueError(f"{', '.join(sorted(twice))} stands among classes and subtypes: name it once")
    codes = {name: entry.elasticc for name, entry in table.classes.items()} | table.subtypes
    return Taxonomy(table.version, tuple(table.classes), codes, table.not_classified)


def _without_twins(pairs: list[tuple[str, object]]) -> dict[str, object]:
    table = dict(pairs)
    if len(table) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {twice!r} stands there twice")
    return table

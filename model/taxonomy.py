"""The classes we publish and their codes in the field's taxonomy; read once from ``taxonomy.json``."""

import json
from dataclasses import dataclass
from importlib import resources


@dataclass(frozen=True, slots=True)
class Taxonomy:
    """Class names in the order of the network's outputs, with ELAsTiCC codes."""

    version: str
    classes: tuple[str, ...]
    codes: dict[str, int]  # class or subtype -> ELAsTiCC code
    not_classified_code: int


def load_taxonomy() -> Taxonomy:
    """Read the taxonomy that the package ships."""
    table = json.loads(resources.files("model").joinpath("taxonomy.json").read_text("utf-8"))
    codes = {name: entry["elasticc"] for name, entry in table["classes"].items()} | table["subtypes"]
    return Taxonomy(table["version"], tuple(table["classes"]), codes, table["not_classified"])

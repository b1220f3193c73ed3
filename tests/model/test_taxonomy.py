"""Taxonomies: the shipped one is read, one of one's own too, and what is none is refused."""

import json
from pathlib import Path

import pytest

from model.taxonomy import TaxonomyError, load_taxonomy

OWN = {
    "version": "own-1",
    "not_classified": 300,
    "classes": {"TDE": {"elasticc": 2243}, "SNIa": {"elasticc": 2222, "meaning": "thermonuclear"}},
    "subtypes": {"SN91bg": 2226},
}
GROUP = {"elasticc": 2200, "classes": ["TDE", "SNIa"]}


def test_a_file_of_ones_own_is_read(tmp_path: Path) -> None:
    """Classes keep their order, codes of classes and subtypes are in one table."""
    (tmp_path / "own.json").write_text(json.dumps(OWN))
    own = load_taxonomy(tmp_path / "own.json")
    assert own.classes == ("TDE", "SNIa") and own.version == "own-1" and own.not_classified_code == 300
    assert own.codes == {"TDE": 2243, "SNIa": 2222, "SN91bg": 2226}
    assert load_taxonomy().classes == ("AGN", "SNIa", "Variable", "SNOther")


def test_first_level_sums_over_groups() -> None:
    """Supernovae of all types are one at the first level, other classes stand for themselves, codes are ELAsTiCC's."""
    shipped = load_taxonomy()
    broad = shipped.broad({"AGN": 0.125, "SNIa": 0.5, "Variable": 0.25, "SNOther": 0.125})
    assert broad == {"AGN": 0.125, "SN": 0.625, "Variable": 0.25}
    assert shipped.codes["SN"] == 2220 and shipped.group_of("SNOther") == "SN" and shipped.group_of("new") == "new"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", "is no taxonomy"),
        (b"\xff", "is no taxonomy"),
        (b"[]", "is no taxonomy"),
        (json.dumps(OWN | {"classes": {}}).encode(), "classes"),
        (json.dumps(OWN | {"classes": {"TDE": {"elasticc": "2243"}}}).encode(), "classes.TDE.elasticc"),
        (json.dumps(OWN | {"not_classified": -1}).encode(), "not_classified"),
        (json.dumps(OWN | {"subtypes": {"TDE": 2243}}).encode(), "TDE stands among"),
        (json.dumps(OWN | {"groups": {"TDE": GROUP}}).encode(), "TDE is a group and a class"),
        (json.dumps(OWN | {"groups": {"A": GROUP, "B": GROUP}}).encode(), "SNIa, TDE stands in groups twice"),
        (json.dumps(OWN | {"groups": {"A": GROUP | {"classes": ["AGN"]}}}).encode(), "holds AGN, which is no class"),
        (json.dumps(OWN | {"groups": {"A": GROUP | {"classes": []}}}).encode(), "groups.A.classes"),
        (b'{"version": "a", "version": "b"}', "twice"),
        (b"[" * 100_000, "nested more than 100 deep"),
        (b" " * (1 << 20) + b"{}", "more than 1048576 bytes"),
        (json.dumps(OWN | {"classes": {f"c{i}": {"elasticc": 1} for i in range(1_001)}}).encode(), "at most 1000"),
        (
            json.dumps(OWN | {"groups": {"A": GROUP | {"classes": ["TDE"] * 60_000}}}).encode(),
            "TDE stands in groups twice",
        ),
    ],
)
def test_what_is_no_taxonomy_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    """The error names the file and the key."""
    path = tmp_path / "broken.json"
    path.write_bytes(content)
    with pytest.raises(TaxonomyError, match=message):
        load_taxonomy(path)
    with pytest.raises(TaxonomyError, match="cannot be read: No such file"):
        load_taxonomy(tmp_path / "none.json")

"""The classifier for programs and notebooks."""

from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

import ictc
from model.simulation.alerts.night import write_night


@pytest.fixture(scope="module")
def night() -> list[bytes]:
    """Alerts of three simulated objects."""
    return [packet for packet, truth in write_night("ztf", 3, 12, seed=8) if truth["label"] != "Asteroid"]


@pytest.fixture(scope="module")
def classifier() -> ictc.Classifier:
    """The shipped network for ZTF."""
    return ictc.Classifier.load("ztf")


@pytest.fixture(scope="module")
def result(classifier: ictc.Classifier, night: list[bytes]) -> ictc.Classifications:
    """What it says of them, and of a message that is none."""
    return classifier.classify([*night, b"rubbish"])


@pytest.mark.slow
def test_table_has_a_row_for_each_alert(result: ictc.Classifications, night: list[bytes]) -> None:
    """The table holds every alert with the columns and units of the output."""
    table = result.table
    assert len(table) == len(night) and str(table["ra"].unit) == "deg"
    total = sum(np.ma.filled(table[name], 0.0) for name in table.colnames if name.startswith("p_"))
    assert {"p_AGN", "p_SNIa", "p_Variable", "p_SNOther"} <= set(table.colnames)
    assert total[table["status"] == "classified"].tolist() == pytest.approx(
        [1.0] * (table["status"] == "classified").sum()
    )
    assert set(table["objectId"]) == set(result.objects)


@pytest.mark.slow
def test_what_is_no_alert_stands_apart(result: ictc.Classifications) -> None:
    """A broken message is no error: it is listed with its reason."""
    assert [one.reason for one in result.rejected] == ["not_avro"]


def test_objects_are_found_by_id(result: ictc.Classifications) -> None:
    """An object is an entry; one that is not there is named with those that are."""
    name = next(iter(result)).object_id
    assert result[name].object_id == name and len(result) == len(result.objects)
    with pytest.raises(KeyError, match=name):
        result["ZTF00none"]


def test_repr_tells_the_essential(result: ictc.Classifications, classifier: ictc.Classifier) -> None:
    """In a terminal and in a notebook, a result shows its objects with their class; the classifier its network."""
    assert "1 rejected" in repr(result) and all(name in repr(result) for name in result.objects)
    assert result._repr_html_().count("<tr>") == len(result) + 1
    assert "ztf: vigil" in repr(classifier) and classifier.cards["ztf"].survey == "ztf"


@pytest.mark.slow
def test_plot_draws_one_or_all(result: ictc.Classifications, classifier: ictc.Classifier) -> None:
    """Several objects become a contact sheet, a named one its sheet, and nothing an error."""
    name = next(iter(result)).object_id
    assert isinstance(result.plot(), Figure) and isinstance(result.plot(name, dark=True), Figure)
    one = ictc.Classifications({name: result[name]})
    assert "<svg" in one._repr_html_() and "1 object," in repr(one) and isinstance(one.plot(), Figure)
    with pytest.raises(ValueError, match="1 rejected: nothing to draw"):
        classifier.classify([b"rubbish"]).plot()


def test_files_are_classified_as_packets_are(
    result: ictc.Classifications, classifier: ictc.Classifier, night: list[bytes], tmp_path: Path
) -> None:
    """A folder of alerts gives the answers of the same packets; one object of it can be asked for."""
    for number, packet in enumerate(night):
        (tmp_path / f"{number}.avro").write_bytes(packet)
    name = max(result, key=lambda story: len(story.answers)).object_id
    one = classifier.classify_files(tmp_path, objects=[name])
    assert list(one.objects) == list(classifier.classify_files(tmp_path, objects=name).objects) == [name]
    with pytest.raises(TypeError, match="as a list"):
        classifier.classify(night[0])  # type: ignore[arg-type]
    assert one[name].newest.probabilities == pytest.approx(result[name].newest.probabilities, abs=1e-5)

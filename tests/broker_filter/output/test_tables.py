"""Tables of classifications, read by the programs that astronomers use."""

from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from astropy.table import Table
from test_formats import ASTEROID, CLASSIFIED, NOT_CLASSIFIED

from broker_filter.output.result_files import open_results
from broker_filter.output.tables import ASTROPY_FORMATS, ROWS_PER_GROUP
from broker_filter.records import Classification

CLASSES = list(CLASSIFIED.probabilities)
ROWS = (CLASSIFIED, NOT_CLASSIFIED, ASTEROID)


def written(folder: Path, form: str, rows: tuple[Classification, ...] = ROWS) -> Path:
    """A file of classifications in one of the formats."""
    path = folder / f"night.{form}"
    with ExitStack() as stack:
        results = open_results(str(path), form, CLASSES, "ICTC", stack)
        for row in rows:
            results.write(row)
    return path


def check(table: Table) -> None:
    """The three rows, as any table of astropy shows them."""
    assert table["alertId"].tolist() == [170028510906023964] * 3
    assert np.asarray(table["p_SNIa"])[0] == 0.5 and np.asarray(table["broad_SN"])[0] == 0.625
    assert np.asarray(table["ra"])[0] == 12.5
    assert np.asarray(table["magnitude"])[0] == pytest.approx(23.9)
    reasons = table["reason"].filled("") if table.masked or hasattr(table["reason"], "filled") else table["reason"]
    assert list(reasons) == ["", "no_stamps", ""]
    sets = table["predictionSet"].filled("") if hasattr(table["predictionSet"], "filled") else table["predictionSet"]
    assert list(sets) == ["SNIa SNOther", "", "SNIa SNOther"]


@pytest.mark.parametrize("form", ASTROPY_FORMATS)
def test_astropy_reads_what_it_wrote_with_units(tmp_path: Path, form: str) -> None:
    """CSV, ECSV and VOTable come back row for row; ECSV and VOTable with units, descriptions and masked nulls."""
    table = Table.read(written(tmp_path, form), format=ASTROPY_FORMATS[form])
    check(table)
    assert table["publicationTimestamp"][0] == "2023-11-14T22:13:22.000Z"
    if form != "csv":
        assert str(table["ra"].unit) == "deg" and str(table["flux"].unit) == "nJy"
        assert "difference" in " ".join(table["flux"].description.split())
        assert np.ma.getmaskarray(table["ra"]).tolist() == [False, True, False]


@pytest.mark.parametrize("form", [*ASTROPY_FORMATS, "parquet"])
def test_text_from_outside_neither_ends_a_row_nor_a_file(tmp_path: Path, form: str) -> None:
    """Whatever an object is called, its row is one row: as visible text where the format is text, exact in Parquet."""
    ids = ["ZTF\n\r1", "ZTF\x1b[2J", "ZTF\x00", "ZTF\u2028\x85", 'ZTF",;\t<b>', "ZTF\u202eé", "ZTF\\n"]
    shown = ["ZTF\\n\\r1", "ZTF\\x1b[2J", "ZTF\\x00", "ZTF\\u2028\\x85", 'ZTF",;\\t<b>', "ZTF\\u202eé", "ZTF\\n"]
    path = written(tmp_path, form, tuple(replace(CLASSIFIED, object_id=name) for name in ids))
    if form == "parquet":
        assert pq.read_table(path)["objectId"].to_pylist() == ids
    else:
        assert Table.read(path, format=ASTROPY_FORMATS[form])["objectId"].tolist() == shown


def test_astropy_reads_parquet(tmp_path: Path) -> None:
    """astropy reads Parquet without a warning, with units; text is never null, unknown numbers are NaN."""
    table = Table.read(written(tmp_path, "parquet"), format="parquet")
    check(table)
    assert np.isnan(table["ra"][1]) and table["night"][0] == 61_000
    assert str(table["ra"].unit) == "deg" and str(table["flux"].unit) == "nJy"


def test_pandas_and_polars_read_parquet(tmp_path: Path) -> None:
    """Both read every column with the same values, ids to the last digit."""
    pandas, polars = pytest.importorskip("pandas"), pytest.importorskip("polars")
    path = written(tmp_path, "parquet")
    frame, other = pandas.read_parquet(path), polars.read_parquet(path)
    assert list(frame.columns) == other.columns
    assert frame["alertId"].tolist() == other["alertId"].to_list() == [170028510906023964] * 3
    assert frame["p_SNIa"].tolist()[0] == other["p_SNIa"].to_list()[0] == 0.5
    assert frame["reason"].tolist() == other["reason"].to_list() == ["", "no_stamps", ""]
    assert str(frame["publicationTimestamp"][0]) == "2023-11-14 22:13:22+00:00"


def test_pandas_reads_csv(tmp_path: Path) -> None:
    """pandas reads the CSV in one line, unknown numbers as NaN."""
    pandas = pytest.importorskip("pandas")
    frame = pandas.read_csv(written(tmp_path, "csv"), parse_dates=["publicationTimestamp"])
    assert frame["ra"].isna().tolist() == [False, True, False]
    assert frame["publicationTimestamp"][0].year == 2023


@pytest.mark.parametrize("form", ["parquet", *ASTROPY_FORMATS])
def test_more_rows_than_a_group_and_none_at_all(tmp_path: Path, form: str) -> None:
    """A table of more rows than are kept at a time has them all in order, and one without rows has its columns."""
    reader = ASTROPY_FORMATS.get(form, form)
    if form == "parquet":
        many = tuple(replace(CLASSIFIED, alert_id=number) for number in range(ROWS_PER_GROUP + 3))
        table = Table.read(written(tmp_path, form, many), format=reader)
        assert table["alertId"].tolist() == list(range(ROWS_PER_GROUP + 3))
    empty = Table.read(written(tmp_path, form, ()), format=reader)
    assert len(empty) == 0 and {"objectId", "p_SNIa", "broad_SN", "ra"} <= set(empty.colnames)

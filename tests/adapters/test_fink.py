"""The science module on a real Spark, on alerts of a simulated night."""

import doctest
import io
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fastavro
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import DataFrame, SparkSession

from ictc import Predictor, series_of
from ictc.adapters import fink
from model.simulation.alerts.night import write_night

pytestmark = [
    pytest.mark.filterwarnings("default"),  # Spark's and pandas' own
    pytest.mark.timeout(1800),  # a JVM on a busy machine
]


@pytest.fixture(scope="module")
def packets() -> list[bytes]:
    """What ZTF would send of six objects within five nights."""
    return [packet for packet, _ in write_night("ztf", 6, 5, seed=5)]


@pytest.fixture(scope="module")
def sample(packets: list[bytes], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same alerts as a table of Parquet, as Fink keeps them."""
    records: list[Any] = [next(fastavro.reader(io.BytesIO(packet))) for packet in packets]
    path = tmp_path_factory.mktemp("fink") / "alerts.parquet"
    pq.write_table(pa.Table.from_pylist(records), path)
    return path


@pytest.fixture(scope="module")
def spark() -> Iterator[SparkSession]:
    """Spark within this process, on one core, on loopback."""
    os.environ.update(PYSPARK_PYTHON=sys.executable, SPARK_LOCAL_IP="127.0.0.1")
    session = (
        SparkSession.builder.master("local[1]")
        .config("spark.ui.enabled", "false")
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.driver.extraJavaOptions", "-XX:TieredStopAtLevel=1")  # a short life
        .config("spark.sql.codegen.wholeStage", "false")
        .config("spark.sql.shuffle.partitions", "2")
        .config("spark.sql.execution.arrow.maxRecordsPerBatch", "7")  # so that objects are cut by batches
        .getOrCreate()
    )
    yield session
    session.stop()


@pytest.fixture(scope="module")
def alerts(spark: SparkSession, sample: Path) -> DataFrame:
    """The alerts as a DataFrame."""
    return spark.read.parquet(str(sample))


def test_examples_run(spark: SparkSession, sample: Path) -> None:
    """The module's docstring runs, as Fink tests its science modules."""
    names = {**vars(fink), "spark": spark, "ztf_alert_sample": str(sample)}
    result = doctest.testmod(fink, extraglobs=names)
    assert (result.failed, result.attempted) == (0, 5)


def test_an_alert_by_itself_is_answered_as_in_python(alerts: DataFrame, packets: list[bytes]) -> None:
    """The science module's probabilities are those of ``series_of`` and the network, alert by alert."""
    answers = alerts.select("candid", fink.ictc_classification(fink.alert_columns()).alias("ictc")).collect()
    assert len(answers) == len(packets)
    vigil = Predictor.load("ztf")
    by_candid = {row.candid: row.ictc for row in answers}
    classified = 0
    for packet in packets:
        record: Any = next(fastavro.reader(io.BytesIO(packet)))
        answer = by_candid[record["candid"]]
        if record["candidate"]["ssdistnr"] >= 0:
            assert (answer.best, answer.reason) == ("Asteroid", None) and answer.p_Asteroid > 0.5
            continue
        series, history = series_of([packet], vigil)
        expected = vigil.predict([series], [history]).probabilities[0]
        assert [answer[f"p_{name}"] for name in vigil.card.classes] == pytest.approx(list(expected), abs=1e-5)
        assert answer.n_observations == 1
        classified += 1
    assert classified > 5


def test_an_object_is_answered_after_each_of_its_alerts(alerts: DataFrame, packets: list[bytes]) -> None:
    """Whatever the order and the partitions, the last answer of an object is that to all of its packets."""
    shuffled = alerts.union(alerts.limit(3)).repartition(3, "candid")
    rows = fink.classify_objects(shuffled).collect()
    assert len({(row.objectId, row.candid) for row in rows}) == len(rows) == len(packets)
    of_object: dict[str, list[bytes]] = {}
    for packet in packets:
        of_object.setdefault(next(fastavro.reader(io.BytesIO(packet)))["objectId"], []).append(packet)
    longest = max(of_object, key=lambda name: len(of_object[name]))
    answers = sorted((row for row in rows if row.objectId == longest), key=lambda row: row.jd)
    assert [row.n_alerts for row in answers] == list(range(1, len(of_object[longest]) + 1))
    assert len(answers) > 2
    vigil = Predictor.load("ztf")
    series, history = series_of(of_object[longest], vigil)
    expected = vigil.predict([series], [history]).probabilities[0]
    assert [answers[-1][f"p_{name}"] for name in vigil.card.classes] == pytest.approx(list(expected), abs=1e-5)


def test_what_cannot_be_read_has_a_reason(alerts: DataFrame) -> None:
    """An alert without stamps is not lost: its row says why it has no class."""
    from pyspark.sql import functions as F  # noqa: N812

    empty = alerts.limit(1).withColumn("cutoutScience", F.lit(None).cast("struct<fileName:string,stampData:binary>"))
    empty = empty.withColumn("cutoutDifference", F.col("cutoutScience")).withColumn(
        "cutoutTemplate", F.col("cutoutScience")
    )
    (row,) = empty.select(fink.ictc_classification(fink.alert_columns()).alias("ictc")).collect()
    assert (row.ictc.best, row.ictc.reason) == (None, "no_stamps")

"""Fink: a science module, and the classification of whole objects, on Spark DataFrames of ZTF alerts.

``ictc_classification`` is a ``pandas_udf`` that reads an alert by itself (its stamps, and what its packet tells of the
past); ``classify_objects`` puts all rows of an object together and answers after each of its alerts, as the stream
does. Both take DataFrames with the columns of ZTF's packets, as Fink keeps them. Each Python worker of Spark loads the
network once; which one is the variable ICTC_WEIGHTS (default: ``ztf``, the weights that come with the program).

Example
-------
>>> alerts = spark.read.parquet(ztf_alert_sample)
>>> answers = alerts.withColumn("ictc", ictc_classification(alert_columns()))
>>> answers.filter("ictc.best != 'Asteroid'").count() == alerts.filter("candidate.ssdistnr < 0").count()
True
>>> answers.select("ictc.p_SNIa").schema.simpleString()
'struct<p_SNIa:double>'

After each alert of each object:

>>> classify_objects(alerts).filter("n_alerts > 1").first().objectId.startswith("ZTF")
True
"""

import io
import os
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any

import fastavro

from ictc import Classifier, load_card
from ictc.adapters import required

required("pyspark", "fink")
import pandas as pd  # noqa: E402
from pyspark.sql import Column, DataFrame  # noqa: E402
from pyspark.sql import functions as F  # noqa: E402, N812
from pyspark.sql.functions import pandas_udf  # noqa: E402
from pyspark.sql.types import (  # noqa: E402
    DoubleType,
    IntegerType,
    LongType,
    StringType,
    StructField,
    StructType,
)

WEIGHTS_VARIABLE = "ICTC_WEIGHTS"
ALERTS_AT_ONCE = 256
TOLD = ("Asteroid", "Bogus")  # classes that a packet itself tells
_CANDIDATE = {
    "jd": "double", "fid": "int", "ra": "double", "dec": "double", "magpsf": "float", "sigmapsf": "float",
    "isdiffpos": "string", "xpos": "float", "ypos": "float", "rb": "float", "drb": "float", "magzpsci": "float",
    "ssdistnr": "float",
}  # fmt: skip
_PAST = {
    "jd": "double", "fid": "int", "magpsf": "float", "sigmapsf": "float", "diffmaglim": "float", "isdiffpos": "string",
}  # fmt: skip
_STAMPS = ("cutoutScience", "cutoutTemplate", "cutoutDifference")


def _weights() -> str:
    return os.environ.get(WEIGHTS_VARIABLE, "ztf")


@cache
def _classifier(weights: str) -> Classifier:
    return Classifier.load(weights)


def _schema_of(weights: str) -> StructType:
    """Fields of an answer."""
    probabilities = [StructField(f"p_{name}", DoubleType()) for name in (*load_card(weights).classes, *TOLD)]
    last = [StructField("unknown", DoubleType()), StructField("n_observations", IntegerType())]
    return StructType([StructField("best", StringType()), *probabilities, *last, StructField("reason", StringType())])


ANSWER = _schema_of(_weights())
_OF_OBJECT = [
    StructField("objectId", StringType()),
    StructField("candid", LongType()),
    StructField("jd", DoubleType()),
    StructField("n_alerts", IntegerType()),
]


def alert_columns() -> Column:
    """What is read of an alert, as one struct: fields of ``candidate``, the past as arrays, the bytes of stamps."""
    candidate = [F.col(f"candidate.{name}").alias(name) for name in _CANDIDATE]
    past = [F.col(f"prv_candidates.{name}").alias(f"past_{name}") for name in _PAST]
    stamps = [F.col(f"{name}.stampData").alias(name) for name in _STAMPS]
    return F.struct(F.col("objectId"), F.col("candid"), *candidate, *past, *stamps)


@pandas_udf(ANSWER)  # type: ignore[call-overload,untyped-decorator,unused-ignore]
def ictc_classification(alert: pd.DataFrame) -> pd.DataFrame:
    """Class probabilities of each alert by itself.

    Parameters
    ----------
    alert
        What ``alert_columns()`` selects.

    Returns
    -------
    best (None where not classified), p_CLASS of each class, p_Asteroid and p_Bogus (None but where the packet tells),
    unknown, n_observations, reason (why not classified).
    """
    rows = alert.to_dict("records")
    return pd.DataFrame(_answers(rows, [f"{row['objectId']}#{number}" for number, row in enumerate(rows)]))


def classify_objects(alerts: DataFrame) -> DataFrame:
    """The answer after each alert of each object, all rows of an object being read together.

    Parameters
    ----------
    alerts
        Rows with ZTF's columns, in any order and partition; an alert that comes twice is answered once.

    Returns
    -------
    objectId, candid, jd, n_alerts (of the object up to this one) and the fields of ``ictc_classification``.
    """
    flat = alerts.select(alert_columns().alias("alert")).select("alert.*").dropDuplicates(["objectId", "candid"])
    together = flat.repartition("objectId").sortWithinPartitions("objectId", "jd", "candid")
    return together.mapInPandas(_classify_partition, StructType([*_OF_OBJECT, *ANSWER.fields]))


def _classify_partition(frames: Iterator[pd.DataFrame]) -> Iterator[pd.DataFrame]:
    """Whole objects of one partition, some hundred alerts at a time; Spark's batches may cut one in two."""
    rows: list[dict[str, Any]] = []
    for frame in frames:
        for row in frame.to_dict("records"):
            if len(rows) >= ALERTS_AT_ONCE and rows[-1]["objectId"] != row["objectId"]:
                yield _classify_objects(rows)
                rows = []
            rows.append(row)
    if rows:
        yield _classify_objects(rows)


def _classify_objects(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Answers to the alerts of whole objects, each decoded and embedded once."""
    answers = _answers(rows, [row["objectId"] for row in rows])
    number: dict[str, int] = {}
    table = []
    for row, answer in zip(rows, answers, strict=True):
        name = row["objectId"]
        number[name] = number.get(name, 0) + 1
        of_alert = {"objectId": name, "candid": row["candid"], "jd": row["jd"], "n_alerts": number[name]}
        table.append(of_alert | answer)
    return pd.DataFrame(table)


def _answers(rows: Sequence[Mapping[str, Any]], object_ids: Sequence[str]) -> list[dict[str, Any]]:
    """The answer to each alert; those with one object id are one object's."""
    packets = [packet_of({**row, "objectId": name}) for row, name in zip(rows, object_ids, strict=True)]
    results = _classifier(_weights()).classify(packets)
    by_alert = {(one.object_id, one.alert_id): one for story in results for one in story.answers}
    rejected = {one.message.origin.offset: str(one.reason) for one in results.rejected}
    answers = []
    for number, (row, name) in enumerate(zip(rows, object_ids, strict=True)):
        answer: dict[str, Any] = dict.fromkeys(ANSWER.names) | {"n_observations": 0, "reason": rejected.get(number)}
        if number not in rejected:
            one = by_alert[name, int(row["candid"])]
            answer |= {f"p_{of}": p for of, p in one.probabilities.items()}
            answer |= {"best": one.best, "unknown": one.unknown_score, "n_observations": one.observation_count}
            answer["reason"] = None if one.reason is None else str(one.reason)
        answers.append(answer)
    return answers


def packet_of(row: Mapping[str, Any]) -> bytes:
    """A row of Spark as an alert packet: what is read of it, in an Avro object container."""
    past = [
        {name: _plain(value) for name, value in zip(_PAST, epoch, strict=True)}
        for epoch in zip(
            *(row[f"past_{name}"] if row[f"past_{name}"] is not None else () for name in _PAST), strict=True
        )
    ]
    record = {
        "objectId": row["objectId"],
        "candid": int(row["candid"]),
        "candidate": {name: _plain(row[name]) for name in _CANDIDATE},
        "prv_candidates": past or None,
        **{name: None if row[name] is None else {"stampData": bytes(row[name])} for name in _STAMPS},
    }
    out = io.BytesIO()
    fastavro.writer(out, _packet_schema(), [record])
    return out.getvalue()


def _plain(value: Any) -> Any:
    """None for a number that pandas holds as NaN."""
    return None if value is None or value != value else value  # noqa: PLR0124 - NaN


@cache
def _packet_schema() -> Any:
    def record(name: str, fields: Mapping[str, Any]) -> dict[str, Any]:
        entries = [{"name": field, "type": ["null", kind]} for field, kind in fields.items()]
        return {"type": "record", "name": name, "namespace": "ztf.alert", "fields": entries}

    stamp = record("cutout", {"stampData": "bytes"})
    needed = {"jd", "fid", "isdiffpos"}
    candidate = record("candidate", _CANDIDATE)
    for field in candidate["fields"]:
        if field["name"] in needed:
            field["type"] = _CANDIDATE[field["name"]]
    fields = [
        {"name": "objectId", "type": "string"},
        {"name": "candid", "type": "long"},
        {"name": "candidate", "type": candidate},
        {"name": "prv_candidates", "type": ["null", {"type": "array", "items": record("prv_candidate", _PAST)}]},
        {"name": _STAMPS[0], "type": ["null", stamp]},
        *({"name": name, "type": ["null", "ztf.alert.cutout"]} for name in _STAMPS[1:]),
    ]
    return fastavro.parse_schema({"type": "record", "name": "alert", "namespace": "ztf.alert", "fields": fields})

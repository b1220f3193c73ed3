"""Dashboards as code: Grafana's JSON from two lists of panels.

    python deploy/grafana/make_dashboards.py      rewrites deploy/grafana/dashboards/*.json

Every expression is asked of a real Prometheus in the tests, which fail on a panel that answers nothing. Three
variables stand above each dashboard: the data source, the survey, and the processes, of which those of the survey.
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

FOLDER = Path(__file__).resolve().parent / "dashboards"
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
METRIC = re.compile(r"\b((?:ictc|process)_[a-z0-9_]+)(?:\{([^}]*)\})?")
COLUMNS = 24  # Grafana's grid


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel: what it asks, and how it shows the answer."""

    title: str
    description: str
    queries: tuple[tuple[str, str], ...]  # (legend, PromQL)
    unit: str = "short"
    kind: Literal["timeseries", "stat", "bargauge"] = "timeseries"
    width: int = 8
    height: int = 8
    stacked: bool = False
    alarm_above: float | None = None  # drawn red from here on
    signed: bool = False  # may be negative


@dataclass(frozen=True, slots=True)
class Dashboard:
    """A page of panels in rows of 24 columns."""

    uid: str
    title: str
    panels: tuple[Panel, ...]


def one(expression: str, legend: str = "") -> tuple[tuple[str, str], ...]:
    """A single query."""
    return ((legend, expression),)


def age_quantile(share: float) -> str:
    """A quantile of the age of alerts at publication."""
    return f"histogram_quantile({share}, sum by (le) (rate(ictc_alert_age_seconds_bucket[5m])))"


def of_instances(expression: str) -> str:
    """The expression for the chosen processes alone."""
    return METRIC.sub(
        lambda match: f'{match[1]}{{{match[2] + ", " if match[2] else ""}instance=~"$instance"}}', expression
    )


MEAN_CONFIDENCE = "sum(rate(ictc_confidence_sum[1h])) / sum(rate(ictc_confidence_count[1h]))"

OPERATORS = Dashboard(
    "ictc-operators",
    "ICT-ConvEntion: operators",
    (
        Panel("Read", "Alerts read a second.", one("sum(rate(ictc_alerts_read_total[5m]))"), "cps", "stat", 4, 4),
        Panel(
            "Waiting",
            "Alerts not yet committed.",
            one("sum(ictc_consumer_lag_alerts)"),
            kind="stat",
            width=4,
            height=4,
            alarm_above=10_000,
        ),
        Panel(
            "Unaccounted",
            "Read minus classified, not classified and rejected: zero, always.",
            one(
                "sum(ictc_alerts_read_total) - (sum(ictc_alerts_classified_total) or vector(0)) "
                "- (sum(ictc_alerts_not_classified_total) or vector(0)) - (sum(ictc_alerts_rejected_total) or vector(0))"
            ),
            kind="stat",
            width=4,
            height=4,
            alarm_above=1,
        ),
        Panel(
            "Age, 99 %",
            "From the survey's own time to our publication.",
            one(age_quantile(0.99)),
            "s",
            "stat",
            4,
            4,
            alarm_above=120,
        ),
        Panel(
            "Progress",
            "Since the last committed batch.",
            one("time() - max(ictc_last_progress_timestamp_seconds)"),
            "s",
            "stat",
            4,
            4,
            alarm_above=300,
        ),
        Panel(
            "Running",
            "Processes, by device.",
            one("count by (device) (ictc_device_info)", "on {{device}}"),
            kind="stat",
            width=4,
            height=4,
        ),
        Panel(
            "Where alerts go",
            "Every alert that is read becomes one of these.",
            (
                ("classified", "sum(rate(ictc_alerts_classified_total[5m]))"),
                ("not classified", "sum(rate(ictc_alerts_not_classified_total[5m]))"),
                ("rejected", "sum(rate(ictc_alerts_rejected_total[5m]))"),
            ),
            "cps",
            stacked=True,
        ),
        Panel(
            "Waiting by partition",
            "Messages of a partition that are not yet committed.",
            one("sum by (partition) (ictc_consumer_lag_alerts)", "{{partition}}"),
        ),
        Panel(
            "Age of an alert at publication",
            "The objective: 98 % within 120 s.",
            (("50 %", age_quantile(0.5)), ("99 %", age_quantile(0.99))),
            "s",
            alarm_above=120,
        ),
        Panel(
            "Late classifications",
            "Share later than 120 s: the objective allows 2 %.",
            one(
                '1 - sum(rate(ictc_alert_age_seconds_bucket{le="120.0"}[1h])) '
                "/ sum(rate(ictc_alert_age_seconds_count[1h]))",
                "last hour",
            ),
            "percentunit",
            alarm_above=0.02,
        ),
        Panel(
            "Rejected, by reason",
            "Messages that never became an alert.",
            one("sum by (reason) (rate(ictc_alerts_rejected_total[5m]))", "{{reason}}"),
            "cps",
        ),
        Panel(
            "Not classified, by reason",
            "Good alerts without a classification.",
            one("sum by (reason) (rate(ictc_alerts_not_classified_total[5m]))", "{{reason}}"),
            "cps",
        ),
        Panel(
            "Time in each room",
            "Seconds of work for each second that passes.",
            one("sum by (stage) (rate(ictc_stage_duration_seconds_sum[5m]))", "{{stage}}"),
            "percentunit",
            stacked=True,
        ),
        Panel(
            "Batches",
            "Alerts in a batch.",
            one("sum(rate(ictc_batch_alerts_sum[5m])) / sum(rate(ictc_batch_alerts_count[5m]))", "mean"),
        ),
        Panel(
            "Wait before work",
            "Age of a batch's first alert when work on it begins.",
            one("histogram_quantile(0.99, sum by (le) (rate(ictc_batch_wait_seconds_bucket[5m])))", "99 %"),
            "s",
        ),
        Panel(
            "Retries and pauses",
            "New attempts at a batch; partitions paused.",
            (("retries", "sum(rate(ictc_batch_retries_total[5m]))"), ("paused", "max(ictc_paused)")),
        ),
        Panel("Series held", "Objects in the store.", one("max(ictc_series_held)", "objects")),
        Panel(
            "Store",
            "Bytes in the store, and objects forgotten a second.",
            (("bytes", "max(ictc_series_bytes)"),),
            "bytes",
        ),
        Panel(
            "Forgotten",
            "Objects evicted from a full store a second.",
            one("sum(rate(ictc_series_evicted_total[5m]))", "objects"),
            "cps",
        ),
        Panel(
            "Damaged rows",
            "Rows of the store that failed their check and were dropped, a second.",
            one("sum(rate(ictc_series_damaged_total[5m]))", "rows"),
            "cps",
        ),
        Panel(
            "Registry failures, by reason",
            "Answers of the schema registry that are no schema, a second.",
            one("sum by (reason) (rate(ictc_registry_failures_total[5m]))", "{{reason}}"),
            "cps",
        ),
        Panel(
            "Memory",
            "Resident memory of a process.",
            one('process_resident_memory_bytes{job=~".*ictc.*"}', "{{instance}}"),
            "bytes",
        ),
        Panel(
            "Processor",
            "Cores in use.",
            one('rate(process_cpu_seconds_total{job=~".*ictc.*"}[5m])', "{{instance}}"),
        ),
        Panel(
            "Model versions",
            "Processes that publish, by version of their classifier.",
            one("count by (survey, version) (ictc_model_info)", "{{version}}"),
        ),
    ),
)

SCIENTISTS = Dashboard(
    "ictc-scientists",
    "ICT-ConvEntion: scientists",
    (
        Panel(
            "Classified",
            "Classifications of the last 24 hours.",
            one("round(sum(increase(ictc_alerts_classified_total[1d])))"),
            kind="stat",
            width=6,
            height=4,
        ),
        Panel(
            "Sure early",
            "Sure of a class (probability at least 0.8) from three observations or fewer, last 24 hours.",
            one("round(sum(increase(ictc_early_classifications_total[1d])))"),
            kind="stat",
            width=6,
            height=4,
        ),
        Panel(
            "Changed their mind",
            "Share of classifications whose class differs from the object's last one.",
            one("sum(rate(ictc_changed_mind_total[1h])) / sum(rate(ictc_alerts_classified_total[1h]))"),
            "percentunit",
            "stat",
            6,
            4,
        ),
        Panel(
            "Mean confidence",
            "Mean of the largest probability, last hour.",
            one(MEAN_CONFIDENCE),
            "percentunit",
            "stat",
            6,
            4,
        ),
        Panel(
            "Class mix",
            "Share of each most probable class, last hour.",
            one(
                "sum by (class) (rate(ictc_classifications_total[1h])) "
                "/ scalar(sum(rate(ictc_classifications_total[1h])))",
                "{{class}}",
            ),
            "percentunit",
            width=12,
            stacked=True,
        ),
        Panel(
            "Classifications of the night",
            "By most probable class, last 24 hours.",
            one("round(sum by (class) (increase(ictc_classifications_total[1d])))", "{{class}}"),
            kind="bargauge",
            width=12,
        ),
        Panel(
            "Sure early, by class",
            "A second.",
            one("sum by (class) (rate(ictc_early_classifications_total[15m]))", "{{class}}"),
            "cps",
        ),
        Panel(
            "Confidence",
            "Quantiles of the largest probability, last hour, and its mean, which an honest network has at the accuracy "
            "that it had on held-out objects in training.",
            (
                ("expected mean", "min(ictc_model_validation_accuracy_ratio)"),
                ("mean", MEAN_CONFIDENCE),
                ("90 %", "histogram_quantile(0.9, sum by (le) (rate(ictc_confidence_bucket[1h])))"),
                ("50 %", "histogram_quantile(0.5, sum by (le) (rate(ictc_confidence_bucket[1h])))"),
                ("10 %", "histogram_quantile(0.1, sum by (le) (rate(ictc_confidence_bucket[1h])))"),
            ),
            "percentunit",
        ),
        Panel(
            "Unlike the training data",
            "Quantiles of the unknown score, last hour. On training data the median is 0 and 84 % lie below 1: what "
            "lies above is drift, or something new.",
            (
                ("95 %", "histogram_quantile(0.95, sum by (le) (rate(ictc_unknown_score_bucket[1h])))"),
                ("84 %", "histogram_quantile(0.84, sum by (le) (rate(ictc_unknown_score_bucket[1h])))"),
                ("50 %", "histogram_quantile(0.5, sum by (le) (rate(ictc_unknown_score_bucket[1h])))"),
            ),
            signed=True,
        ),
        Panel(
            "Changed their mind, by time",
            "A second.",
            one("sum(rate(ictc_changed_mind_total[15m]))", "objects"),
            "cps",
            width=12,
        ),
        Panel(
            "Revisions",
            "Published again because an observation came late.",
            one("sum(rate(ictc_revisions_total[15m]))", "revisions"),
            "cps",
            width=12,
        ),
    ),
)

DASHBOARDS = (OPERATORS, SCIENTISTS)


def panel_json(panel: Panel, number: int, x: int, y: int) -> dict[str, Any]:
    """One panel as Grafana wants it."""
    steps: list[dict[str, Any]] = [{"color": "green", "value": None}]
    if panel.alarm_above is not None:
        steps.append({"color": "red", "value": panel.alarm_above})
    custom: dict[str, Any] = {}
    if panel.kind == "timeseries":
        custom = {
            "fillOpacity": 25 if panel.stacked else 5,
            "stacking": {"mode": "normal" if panel.stacked else "none"},
        }
        if panel.alarm_above is not None:
            custom["thresholdsStyle"] = {"mode": "line"}
    return {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.description,
        "datasource": DATASOURCE,
        "gridPos": {"x": x, "y": y, "w": panel.width, "h": panel.height},
        "fieldConfig": {
            "defaults": {
                "unit": panel.unit,
                **({} if panel.signed else {"min": 0}),
                "thresholds": {"mode": "absolute", "steps": steps},
                "custom": custom,
            },
            "overrides": [],
        },
        "targets": [
            {
                "refId": chr(ord("A") + i),
                "datasource": DATASOURCE,
                "expr": of_instances(expression),
                "legendFormat": legend or "__auto",
            }
            for i, (legend, expression) in enumerate(panel.queries)
        ],
    }


def variable_json(name: str, label: str, query: str) -> dict[str, Any]:
    """A variable whose values are those of a label; all of them unless some are chosen."""
    return {
        "name": name,
        "label": label,
        "type": "query",
        "datasource": DATASOURCE,
        "query": {"query": query, "refId": name},
        "refresh": 2,  # with the time range: processes come and go
        "sort": 1,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"text": ["All"], "value": ["$__all"]},
    }


VARIABLES = [
    {"name": "datasource", "label": "data source", "type": "datasource", "query": "prometheus", "current": {}},
    variable_json("survey", "survey", "label_values(ictc_model_info, survey)"),
    variable_json("instance", "process", 'label_values(ictc_model_info{survey=~"$survey"}, instance)'),
]


def dashboard_json(dashboard: Dashboard) -> dict[str, Any]:
    """A dashboard as Grafana wants it, panels laid out from left to right."""
    panels, x, y, row_height = [], 0, 0, 0
    for number, panel in enumerate(dashboard.panels, start=1):
        if x + panel.width > COLUMNS:
            x, y, row_height = 0, y + row_height, 0
        panels.append(panel_json(panel, number, x, y))
        x, row_height = x + panel.width, max(row_height, panel.height)
    return {
        "uid": dashboard.uid,
        "title": dashboard.title,
        "tags": ["ictc"],
        "schemaVersion": 41,
        "editable": False,
        "time": {"from": "now-12h", "to": "now"},
        "refresh": "30s",
        "timezone": "utc",
        "templating": {"list": VARIABLES},
        "panels": panels,
    }


def main() -> None:
    """Write every dashboard."""
    for dashboard in DASHBOARDS:
        text = json.dumps(dashboard_json(dashboard), indent=1) + "\n"
        (FOLDER / f"{dashboard.uid}.json").write_text(text, "utf-8")


if __name__ == "__main__":
    main()

"""The Helm chart, rendered by Helm's own engine and checked against Kubernetes' own schemas."""

import json
from pathlib import Path
from typing import Any

import helm_python
import pytest
import yaml

from broker_filter.config import Settings

STORE_URL = {"secrets": {"ICTC_STORE__URL": {"secret": "ictc-store", "key": "url"}}}
EVERYTHING: dict[str, Any] = {
    "secrets": STORE_URL["secrets"] | {"ICTC_KAFKA__PASSWORD": {"secret": "ictc-kafka", "key": "password"}},
    "secretFiles": {"/etc/ictc/tls": "ictc-kafka-tls"},
    "autoscaling": {"enabled": True, "authentication": "ictc-kafka"},
    "monitoring": {"podMonitor": True, "rules": True, "labels": {"release": "prometheus"}},
    "networkPolicy": {
        "enabled": True,
        "prometheusFrom": [{"namespaceSelector": {}}],
        "egressTo": [{"ports": [{"port": 9092, "protocol": "TCP"}]}],
    },
    "gpu": {"count": 1},
    "podAnnotations": {"team": "transients"},
}
EMBEDDED: dict[str, Any] = {"settings": {"store": {"kind": "lmdb"}}, "persistence": {"enabled": True}}
CORE_APIS = ("v1", "apps/v1", "policy/v1", "networking.k8s.io/v1")


@pytest.fixture
def chart_folder(repo_root: Path) -> Path:
    return repo_root / "deploy" / "helm" / "ictc"


@pytest.fixture
def chart(chart_folder: Path) -> helm_python.Chart:
    return helm_python.Chart.load(str(chart_folder))


def resources(chart: helm_python.Chart, values: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Kind -> object of everything that the chart makes of some values."""
    texts = chart.render(values, name="night", namespace="brokers")
    documents = (d for path, text in texts.items() if path.endswith(".yaml") for d in yaml.safe_load_all(text))
    return {document["kind"]: document for document in documents if document}


@pytest.mark.slow
@pytest.mark.parametrize(
    "values", [STORE_URL, EVERYTHING, EMBEDDED], ids=["shared store", "everything", "embedded store"]
)
def test_every_core_resource_is_valid_kubernetes(chart: helm_python.Chart, values: dict[str, Any]) -> None:
    """What the chart renders passes Kubernetes' own schemas, in strict mode."""
    import kubernetes_validate  # it makes parsers

    rendered = resources(chart, values)
    assert {"Deployment", "ConfigMap", "PodDisruptionBudget"} <= rendered.keys()
    for resource in rendered.values():
        if resource["apiVersion"] in CORE_APIS:
            kubernetes_validate.validate(resource, "1.33", strict=True)


def test_every_option_makes_its_resource(chart: helm_python.Chart) -> None:
    """With every option on there is a scaler on lag, a pod monitor, rules and a network policy."""
    rendered = resources(chart, EVERYTHING)
    assert {"ScaledObject", "PodMonitor", "PrometheusRule", "NetworkPolicy"} <= rendered.keys()
    trigger = rendered["ScaledObject"]["spec"]["triggers"][0]
    assert trigger["metadata"]["consumerGroup"] == "ictc"
    assert "topic" not in trigger["metadata"], "a regular expression is no topic name"
    assert rendered["PrometheusRule"]["spec"]["groups"], "the rules came along"


def test_dashboards_come_along(chart: helm_python.Chart) -> None:
    """Grafana's sidecar finds every dashboard in a ConfigMap."""
    texts = chart.render(STORE_URL | {"monitoring": {"dashboards": True}}, name="night", namespace="brokers")
    (text,) = (text for path, text in texts.items() if path.endswith("dashboards.yaml"))
    dashboards = yaml.safe_load(text)
    assert dashboards["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert dashboards["data"]
    for name, content in dashboards["data"].items():
        assert name.endswith(".json")
        assert json.loads(content)["panels"]


def test_a_pod_that_waits_is_not_killed(chart: helm_python.Chart) -> None:
    """While Kafka is away, or where the group has no partition for it, a pod starts up and lives."""
    (container,) = resources(chart, STORE_URL)["Deployment"]["spec"]["template"]["spec"]["containers"]
    for probe in ("startupProbe", "livenessProbe"):
        assert container[probe]["httpGet"]["path"] == "/healthz"
    assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"


def test_each_pods_page_can_be_reached(chart: helm_python.Chart) -> None:
    """A headless Service names the pods, ready or not."""
    service = resources(chart, STORE_URL)["Service"]["spec"]
    assert service["clusterIP"] == "None"
    assert service["publishNotReadyAddresses"]


def test_settings_are_settings_of_the_service(chart: helm_python.Chart) -> None:
    """The file that the chart writes is accepted by the service as it stands."""
    written = yaml.safe_load(resources(chart, EMBEDDED)["ConfigMap"]["data"]["broker.yaml"])
    settings = Settings(**written)
    assert settings.store.kind == "lmdb"
    assert settings.http.port == written["http"]["port"]


def test_pod_is_locked_down(chart: helm_python.Chart) -> None:
    """The container runs as nobody, cannot write to its image, and holds no secret but by reference."""
    pod = resources(chart, EVERYTHING)["Deployment"]["spec"]["template"]["spec"]
    container = pod["containers"][0]
    assert pod["securityContext"]["runAsNonRoot"]
    assert not pod["automountServiceAccountToken"]
    assert container["securityContext"]["readOnlyRootFilesystem"]
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    for variable in container["env"]:
        assert ("valueFrom" in variable) == (variable["name"] != "ICTC_MODEL__DEVICE")
    assert container["resources"]["limits"]["nvidia.com/gpu"] == 1


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ({}, "secrets.ICTC_STORE__URL"),
        ({"settings": {"store": {"kind": "lmdb"}}, "replicas": 2}, "more than one replica needs"),
        (
            {"settings": {"store": {"kind": "lmdb"}}, "persistence": {"enabled": True}, "replicas": 2},
            "more than one replica",
        ),
        (STORE_URL | {"settings": {"kafka": {"password": "hunter2"}}}, "/settings/kafka/password"),
        (STORE_URL | {"terminationGracePeriodSeconds": 10}, "must exceed settings.life.drain_s"),
        (STORE_URL | {"repliacs": 3}, "repliacs"),
    ],
)
def test_wrong_values_are_refused(chart: helm_python.Chart, values: dict[str, Any], complaint: str) -> None:
    """Values that cannot work are refused before anything is installed, with the reason."""
    with pytest.raises(helm_python.HelmError, match=complaint):
        chart.render(values, name="night")


def test_chart_lints(chart_folder: Path) -> None:
    """Helm's own linter finds no error."""
    report = helm_python.lint(str(chart_folder), STORE_URL)
    assert report["total_charts_linted"] == 1
    assert not report["errors"]

"""Traces of finished batches."""

import subprocess
import sys
import threading
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from test_recent import batch, classification

from broker_filter.config import TraceSettings, load
from broker_filter.errors import ConfigurationError
from broker_filter.monitoring.traces import NS, Traces, open_traces
from broker_filter.records import FinishedBatch

pytest.importorskip("opentelemetry.sdk", reason="the extra trace is not installed")
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

NOW_NS = 1_700_000_000 * NS


def finished() -> FinishedBatch:
    """A batch of two alerts that took 1 s, of which it waited 0.25."""
    result = batch(classification("a", 1), classification("b", 2))
    stages_s = {"decode": 0.25, "classify": 0.125, "deliver": 0.125, "settle": 0.125}
    return FinishedBatch(result, 2, 1, stages_s, 0.25, 1.0)


def test_a_batch_is_a_span_and_its_stages_are_its_children():
    """Times, order and numbers of alerts are those of the batch."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    Traces(provider.get_tracer("test"), lambda: NOW_NS)(finished())
    *stages, whole = exporter.get_finished_spans()
    assert (whole.name, whole.start_time, whole.end_time) == ("batch", NOW_NS - NS, NOW_NS)
    assert (whole.attributes["ictc.alerts"], whole.attributes["ictc.classified"]) == (2, 2)
    since_start_s = [
        (s.name, (s.start_time - whole.start_time) / NS, (s.end_time - whole.start_time) / NS) for s in stages
    ]
    assert since_start_s == [
        ("wait", 0.0, 0.25),
        ("decode", 0.25, 0.5),
        ("classify", 0.5, 0.625),
        ("deliver", 0.75, 0.875),
        ("settle", 0.875, 1.0),
    ]
    assert {s.parent.span_id for s in stages} == {whole.context.span_id}


class Collector:
    """An OTLP collector on loopback that keeps what it was sent."""

    def __init__(self) -> None:
        received = self.received = []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                received.append((self.path, ExportTraceServiceRequest.FromString(body)))
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


def test_spans_arrive_at_the_endpoint():
    """What was not sent when the service ends is sent then."""
    collector = Collector()
    with ExitStack() as stack:
        stack.callback(collector.close)
        with ExitStack() as service:
            endpoint = f"http://127.0.0.1:{collector.server.server_port}/v1/traces"
            traces = open_traces(TraceSettings(endpoint=endpoint), service)
            traces(finished())
        ((path, request),) = collector.received
    resource = request.resource_spans[0]
    names = [span.name for span in resource.scope_spans[0].spans]
    assert path == "/v1/traces"
    assert sorted(names) == ["batch", "classify", "decode", "deliver", "settle", "wait"]
    assert "ictc" in [a.value.string_value for a in resource.resource.attributes if a.key == "service.name"]


def test_tracing_is_off_by_default():
    """Nobody who does not ask for it pays for it."""
    with ExitStack() as stack:
        assert open_traces(TraceSettings(), stack) is None
    code = "import broker_filter.monitoring.traces, sys; assert 'opentelemetry' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_asked_for_and_not_installed_is_said(monkeypatch):
    """The message names the setting and the remedy."""
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    with ExitStack() as stack, pytest.raises(ConfigurationError, match=r"trace\.endpoint.*'\.\[trace\]"):
        open_traces(TraceSettings(endpoint="http://127.0.0.1:1/v1/traces"), stack)


@pytest.mark.parametrize("endpoint", ["http://me:hunter2@host/v1/traces", "collector:4317", ""])
def test_endpoint_is_an_address_without_a_password(endpoint):
    """Settings are printed at the start: a password has no place in an address, and is not repeated."""
    with pytest.raises(ConfigurationError, match=r"trace\.endpoint") as caught:
        load(["--trace.endpoint", endpoint])
    assert "hunter2" not in str(caught.value)

"""OpenTelemetry spans of finished batches: one each, its stages as children. Knows nothing of Kafka.

Spans are made after the fact from times that were taken anyway, and sent by a thread of the library's own that drops
what it cannot send. Off unless ``trace.endpoint`` is set; then the extra ``trace`` must be installed.
"""

import logging
import time
from collections.abc import Callable
from contextlib import ExitStack
from importlib import metadata
from typing import Any

from broker_filter.config import TraceSettings
from broker_filter.errors import ConfigurationError
from broker_filter.logs import ROOT
from broker_filter.records import FinishedBatch

TIMEOUT_S = 5.0  # longest wait for the collector, also at the end of the service
NS = 1_000_000_000
STAGES_AFTER = ("deliver", "settle")  # end the batch; the others, from "decode" on, follow its start


def open_traces(
    settings: TraceSettings, stack: ExitStack, exporter: Any = None
) -> Callable[[FinishedBatch], None] | None:
    """What to call with each finished batch; None when tracing is off. What it opens, ``stack`` closes.

    Parameters
    ----------
    exporter
        An ``opentelemetry.sdk.trace.export.SpanExporter`` in the place of the one that sends to ``trace.endpoint``.

    Raises
    ------
    ConfigurationError
        Asked for, and not installed.
    """
    if settings.endpoint is None:
        return None
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415 - optional
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415
    except ImportError as error:
        raise ConfigurationError(
            f"trace.endpoint is set, but {error.name} is not installed: pip install '.[trace]', "
            "or leave trace.endpoint out"
        ) from error
    _speak_as_we_do("opentelemetry")
    resource = Resource.create({"service.name": "ictc", "service.version": metadata.version("ictc")})
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    exporter = OTLPSpanExporter(endpoint=settings.endpoint, timeout=TIMEOUT_S) if exporter is None else exporter
    provider.add_span_processor(BatchSpanProcessor(exporter))
    stack.callback(provider.shutdown)
    return Traces(provider.get_tracer("ictc"))


class Traces:
    """Makes the spans of a batch.

    Parameters
    ----------
    tracer
        An ``opentelemetry.trace.Tracer``.
    clock_ns
        Unix time, nanoseconds.
    """

    def __init__(self, tracer: Any, clock_ns: Callable[[], int] = time.time_ns) -> None:
        from opentelemetry.trace import set_span_in_context  # noqa: PLC0415 - optional

        self._tracer, self._clock_ns, self._inside = tracer, clock_ns, set_span_in_context

    def __call__(self, done: FinishedBatch) -> None:
        """A batch was delivered and settled just now.

        A batch goes through a stage more than once where its series need it (read, embed, read ...); each stage is
        one span as long as all its times together, and the stages stand in the order in which they were entered.
        """
        end_ns = self._clock_ns()
        accounts = done.report.accounts
        attributes = {
            "ictc.alerts": done.messages,
            "ictc.classified": accounts.classified,
            "ictc.not_classified": sum(accounts.not_classified.values()),
            "ictc.rejected": sum(accounts.rejected.values()),
            "ictc.revisions": accounts.revisions,
            "ictc.partitions": done.partitions,
        }
        batch = self._tracer.start_span("batch", start_time=end_ns - int(NS * done.total_s), attributes=attributes)
        inside = self._inside(batch)
        at_ns = end_ns - int(NS * (done.total_s - done.waited_s))
        if done.waited_s > 0:
            self._stage("wait", at_ns - int(NS * done.waited_s), at_ns, inside)
        for stage, seconds in done.stages_s.items():
            if stage in STAGES_AFTER:
                continue
            self._stage(stage, at_ns, at_ns + int(NS * seconds), inside)
            at_ns += int(NS * seconds)
        at_ns = end_ns - int(NS * sum(done.stages_s.get(stage, 0.0) for stage in STAGES_AFTER))
        for stage in STAGES_AFTER:
            until_ns = at_ns + int(NS * done.stages_s.get(stage, 0.0))
            self._stage(stage, at_ns, until_ns, inside)
            at_ns = until_ns
        batch.end(end_time=end_ns)

    def _stage(self, name: str, start_ns: int, end_ns: int, inside: Any) -> None:
        self._tracer.start_span(name, start_time=start_ns, context=inside).end(end_time=end_ns)


def _speak_as_we_do(library: str) -> None:
    """The library's warnings (a collector that is away) in our form, instead of bare lines among JSON."""
    theirs = logging.getLogger(library)
    theirs.handlers[:] = logging.getLogger(ROOT).handlers
    theirs.propagate = False
    theirs.setLevel(logging.WARNING)

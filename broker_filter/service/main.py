"""The command ``ictc-broker``: one service, or several processes of it."""

import sys
from collections.abc import Callable, Sequence

from broker_filter.config import Settings, load, remember_secrets
from broker_filter.errors import ConfigurationError, FatalError
from broker_filter.logs import facts, logger, set_up
from broker_filter.service import check
from broker_filter.service.serve import serve
from broker_filter.service.stop import Stop
from broker_filter.service.workers import supervise
from broker_filter.terminal import complain
from model.commands import DONE, FAILED, INTERRUPTED, MISUSE

log = logger("service")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run ``ictc-broker``; the exit status is 0, 1 (cannot go on) or 2 (wrong settings)."""
    try:
        command = load(arguments)
        set_up(command.settings.log.level, command.settings.log.format)
        if command.check:
            return check.run(command.settings)
        if command.settings.life.workers == 1:
            return run(command.settings)
        with Stop().on_signals() as stop:
            return _ended(lambda: supervise(command.settings, stop, run_worker))
    except ConfigurationError as error:
        complain("ictc-broker", error)
        return MISUSE
    except KeyboardInterrupt:  # before the first signal is heard as a wish for an orderly end
        complain("ictc-broker", "interrupted")
        return INTERRUPTED


def run(settings: Settings, announce: Callable[[str], None] = lambda _: None) -> int:
    """One service until its end; returns its exit status.

    Raises
    ------
    ConfigurationError
        What the operator decided cannot be.
    """
    with Stop().on_signals() as stop:
        return _ended(lambda: serve(settings, stop, announce))


def run_worker(settings: Settings, announce: Callable[[str], None]) -> int:
    """:func:`run` as one of many processes, which begins with nothing but its settings."""
    remember_secrets(settings)
    set_up(settings.log.level, settings.log.format)
    try:
        return run(settings, announce)
    except ConfigurationError as error:
        complain("ictc-broker", error)
        return MISUSE


def _ended(work: Callable[[], int | None]) -> int:
    try:
        return work() or DONE
    except ConfigurationError:
        raise
    except FatalError as error:
        log.error("the service stops", extra=facts(error=str(error)))
        return FAILED


if __name__ == "__main__":
    sys.exit(main())

"""The service in a process of its own, forked from one that has its libraries loaded: started often, it starts fast.

No benchmark by itself.
"""

import faulthandler
import multiprocessing
import os
import sys
from multiprocessing.context import ForkServerProcess
from pathlib import Path

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["broker_filter.service.main"])


def start(flags: list[str], log: Path) -> ForkServerProcess:
    """Begin ``ictc-broker`` with these flags; both its streams go to ``log``."""
    process = CONTEXT.Process(target=_be_the_service, args=(flags, str(log)))
    process.start()
    return process


def _be_the_service(flags: list[str], log: str) -> None:
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(file, 1)
    os.dup2(file, 2)
    faulthandler.enable(file)
    os.setpgrp()  # a Ctrl-C of the test run is not for us
    from broker_filter.service.main import main  # noqa: PLC0415 - loaded already where we are forked from

    sys.exit(main(flags))

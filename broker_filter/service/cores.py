"""The processor cores that this process may use."""

import os


def usable_cores() -> int:
    """How many: a pinned process, or one in a container, may be granted fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1

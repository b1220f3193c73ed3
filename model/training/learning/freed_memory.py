"""Memory that a training step frees and the next one takes: kept by the process."""

import ctypes

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # of mallopt(3), with its defaults
NEVER, TRIM_BYTES, MMAP_BLOCKS = -1, 128 * 1024, 65_536


def keep_freed_memory(keep: bool = True) -> bool:
    """Let the C library keep what is freed, or give large blocks back to the system at once, as it does by itself.

    A step on a processor takes gigabytes and frees them. Given back, they come again with a fault for every page, which
    was a quarter of a ConvEntion's step. Kept, the process holds what its largest step took.

    Returns
    -------
    bool
        Whether the C library can be told: glibc can.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # another C library, or none that can be asked
        return False
    settings = (
        {M_MMAP_MAX: 0, M_TRIM_THRESHOLD: NEVER} if keep else {M_MMAP_MAX: MMAP_BLOCKS, M_TRIM_THRESHOLD: TRIM_BYTES}
    )
    return all([mallopt(name, value) for name, value in settings.items()])

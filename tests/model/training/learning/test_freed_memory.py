"""Freed memory is kept by the process where its C library can be told."""

import subprocess
import sys

import pytest

# In a process of its own: the setting is a process's, and memory of other threads than the first comes from elsewhere.
FAULTS = """
import ctypes, resource
from model.training.learning.freed_memory import keep_freed_memory

libc, size = ctypes.CDLL(None), 200_000_000
libc.malloc.restype, libc.malloc.argtypes, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]

def faults_of_a_second_block():
    for _ in range(2):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        block = libc.malloc(size)
        ctypes.memset(block, 1, size)
        libc.free(block)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

print(*[faults_of_a_second_block() if keep_freed_memory(keep) else -1 for keep in (False, True)])
"""


def test_a_block_that_is_kept_is_taken_again_without_a_fault():
    """Given back, a block comes again page by page; kept, it is there."""
    ran = subprocess.run([sys.executable, "-c", FAULTS], check=True, capture_output=True, text=True)
    given_back, kept = map(int, ran.stdout.split())
    if given_back < 0:
        pytest.skip("the C library cannot be told")
    assert kept < given_back / 4

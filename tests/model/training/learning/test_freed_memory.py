"""Freed memory is kept by the process where its C library can be told."""

import resource

import pytest
import torch

from model.training.learning.freed_memory import keep_freed_memory

BLOCK_BYTES = 200_000_000


def faults_of_a_second_block() -> int:
    """Page faults of taking a large block that was taken and freed before."""
    torch.empty(BLOCK_BYTES, dtype=torch.uint8).fill_(1)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.empty(BLOCK_BYTES, dtype=torch.uint8).fill_(1)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def test_a_block_that_is_kept_is_taken_again_without_a_fault():
    """Given back, a block comes again page by page; kept, it is there."""
    if not keep_freed_memory(False):
        pytest.skip("the C library cannot be told")
    given_back = faults_of_a_second_block()
    try:
        assert keep_freed_memory()
        kept = faults_of_a_second_block()
    finally:
        keep_freed_memory(False)
    assert kept < given_back / 4

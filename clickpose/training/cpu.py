"""How this process is set up to train on a CPU."""

from __future__ import annotations

import ctypes

import torch

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # names of glibc's malloc.h


def tune_for_cpu(num_threads: int) -> None:
    """Set this process up to train on a CPU: matrix products by oneDNN.

    These use bf16 internally on processors with AMX and float32 elsewhere; coordinates stay float32. Fused attention is
    disabled, as its backward pass is slower. Large buffers are reused.
    """
    torch.set_num_threads(num_threads)
    torch.set_float32_matmul_precision("medium")
    torch.backends.cuda.enable_flash_sdp(False)  # this switch governs the CPU as well
    keep_large_buffers()


def keep_large_buffers() -> None:
    """Let glibc reuse large buffers from step to step; each would cost a page fault for every 4 KiB otherwise."""
    try:
        set_option = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return  # another C library
    set_option(M_MMAP_THRESHOLD, 2**30)
    set_option(M_TRIM_THRESHOLD, 2**31 - 1)

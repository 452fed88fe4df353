"""Memory: how much is free, and whether the C library keeps what training frees, up to twice as fast on a CPU."""

import ctypes
import platform
import re
from pathlib import Path

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4  # malloc.h


def keep_freed_memory() -> bool:
    """Lets the process keep freed memory for its next step, rather than fetch it from the system page by page.

    This holds for the whole process, and its peak is then what the system sees in use; so a program chooses it, as
    the command line does, and importing quickstudy does not.

    Returns:
        Whether it was set: only glibc can.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return all([mallopt(M_MMAP_MAX, 0), mallopt(M_TRIM_THRESHOLD, 2**31 - 1), mallopt(M_TOP_PAD, 256 * 2**20)])


def free_memory() -> int | None:
    """Bytes that can be had without swapping, as Linux estimates them; None on other systems."""
    try:
        found = re.search(r"MemAvailable:\s+(\d+) kB", Path("/proc/meminfo").read_text())
    except OSError:
        return None
    return int(found[1]) * 1024 if found else None

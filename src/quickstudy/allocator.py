"""Whether the C library keeps the memory that training frees, which is up to twice as fast on a CPU."""

import ctypes
import platform

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

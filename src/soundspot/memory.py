"""Keep freed memory: large tensors then cost no page faults the second time.

glibc hands every freed block of more than a few megabytes back to the system, and each new tensor
of that size is paid for in page faults: on machines where those are slow, more than the
arithmetic. `keep_freed` raises the thresholds through `mallopt`. It must run before torch
allocates; on other C libraries it does nothing. `benchmarks/methods.py` measures the ratio.

Memory that is kept is kept an arena, and glibc makes up to eight arenas a core for the threads of a
process. The threads of a film (decoding, localizing, encoding) would each keep blocks that the
others could use, so there are no more than `ARENAS`.

The command line does this for itself. A library has no business doing it, so `import soundspot`
does not. Set SOUNDSPOT_KEEP_MALLOC=1 to leave the C library as it is.
"""

from __future__ import annotations

import ctypes
import os
import sys

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX, M_ARENA_MAX = -1, -2, -4, -8
"""Names of glibc's malloc.h."""
TRIM = 2**31 - 1
"""Bytes of free memory at the top of the heap before any of it is given back."""
PAD = 64 * 2**20
"""Bytes by which the heap grows at a time beyond what is asked for."""
ARENAS = 1
"""Heaps of one process."""


def keep_freed() -> bool:
    """Raise glibc's thresholds; returns whether they were raised."""
    if os.environ.get("SOUNDSPOT_KEEP_MALLOC") or not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except AttributeError:
        return False
    options = {M_MMAP_MAX: 0, M_TRIM_THRESHOLD: TRIM, M_TOP_PAD: PAD, M_ARENA_MAX: ARENAS}
    return all(mallopt(name, value) for name, value in options.items())

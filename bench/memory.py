"""Peak memory of this process."""

import re
import resource
import sys
from pathlib import Path


def peak_bytes() -> int:
    """Return the peak resident memory of this process in bytes.

    On Linux a process inherits `ru_maxrss` from its parent, so the kernel's high-water mark (VmHWM)
    is read there.
    """
    status = Path("/proc/self/status")
    if status.exists():
        match = re.search(r"VmHWM:\s+(\d+) kB", status.read_text(encoding="utf-8"))
        assert match is not None
        return int(match[1]) * 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit

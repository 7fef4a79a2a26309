"""Asks the kernel to let a process run soon rather than long: short slices of processor time.

On a machine with fewer processors than busy processes, whoever wakes up waits until the one that runs has had
its slice, some milliseconds. A process with shorter slices is let in before that (Linux 6.12 and later,
sched_setattr(2)). It gets no larger share, only smaller pieces, sooner. A kernel that knows nothing of it
refuses, and nothing changes.
"""

from __future__ import annotations

import ctypes
import os
import struct
import sys

SLICE_NS = 100_000  # the shortest that the kernel takes
_NUMBERS = {"x86_64": 314, "aarch64": 274}  # of sched_setattr
_ATTRIBUTES = struct.Struct("=IIQiIQQQ")  # size, policy, flags, nice, priority, runtime, deadline, period


def shorten_slices() -> bool:
    """Ask for the shortest slices for this process's calling thread; whether the kernel took it."""
    number = _NUMBERS.get(os.uname().machine)
    if not sys.platform.startswith("linux") or number is None:
        return False
    nice = os.getpriority(os.PRIO_PROCESS, 0)
    attributes = _ATTRIBUTES.pack(_ATTRIBUTES.size, os.SCHED_OTHER, 0, nice, 0, SLICE_NS, 0, 0)
    libc = ctypes.CDLL(None, use_errno=True)
    return bool(libc.syscall(number, 0, attributes, 0) == 0)

"""A checksum of memory at the speed of memory, for what the engine keeps only for itself.

The log's own checksums are CRC32, which any program can compute. The decoded columns that `cache` keeps are
read by this engine alone and are six times as large, so they are verified by several bytes a cycle
instead: eight lanes of 64 bits, each `lane = rotate(lane + word * odd) * odd`, which no change of a single
word survives, folded into one number at the end. It finds accidents, not forgeries: what does not fit is
decoded again from the log, and whoever can write to the cache can as well write to the engine.

One call takes many pieces, without the interpreter's lock: a thread that needs the lock back for each
column would wait for a busy strategy every time.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from engine.model import jit

Piece = tuple[int, int]  # address, bytes

JOB = np.dtype([("address", "<i8"), ("bytes", "<i8"), ("digest", "<u8")])

_jobs_at = jit.records_at(JOB)
_words_at = jit.records_at(np.dtype("<u8"))
_bytes_at = jit.records_at(np.dtype("u1"))

_ODD = np.uint64(0x9E3779B97F4A7C15)  # 2**64 over the golden ratio
_ODD_TOO = np.uint64(0x6A09E667F3BCC909)  # 2**64 times the fraction of the root of 2, made odd
_LEFT, _RIGHT = np.uint64(31), np.uint64(33)
_SHIFT = np.uint64(29)


@jit.exact_helper
def _mixed(lane: np.uint64, word: np.uint64) -> np.uint64:
    lane += word * _ODD_TOO
    return ((lane << _LEFT) | (lane >> _RIGHT)) * _ODD


@jit.entry("int64(int64,int64)")
def _digest_all(jobs_address: int, count: int) -> int:
    jobs = _jobs_at(jobs_address, count)
    for k in range(count):
        job = jobs[k]
        whole = job.bytes // 8
        words = _words_at(job.address, whole)
        a, b, c, d = np.uint64(1), np.uint64(2), np.uint64(3), np.uint64(4)
        e, f, g, h = np.uint64(5), np.uint64(6), np.uint64(7), np.uint64(8)
        i = 0
        while i + 8 <= whole:
            a = _mixed(a, words[i])
            b = _mixed(b, words[i + 1])
            c = _mixed(c, words[i + 2])
            d = _mixed(d, words[i + 3])
            e = _mixed(e, words[i + 4])
            f = _mixed(f, words[i + 5])
            g = _mixed(g, words[i + 6])
            h = _mixed(h, words[i + 7])
            i += 8
        while i < whole:
            a = _mixed(a, words[i])
            i += 1
        rest = _bytes_at(job.address, job.bytes)
        for j in range(8 * whole, job.bytes):
            b = _mixed(b, np.uint64(rest[j]))
        total = np.uint64(job.bytes)
        for lane in (a, b, c, d, e, f, g, h):
            total = _mixed(total, lane)
        job.digest = _mixed(total ^ (total >> _SHIFT), _ODD)
    return 0


def digests(pieces: Sequence[Piece]) -> list[int]:
    """The checksum of each piece of memory; whoever calls keeps the memory alive."""
    jobs = np.zeros(len(pieces), JOB)
    jobs["address"] = [address for address, _ in pieces]
    jobs["bytes"] = [size for _, size in pieces]
    _digest_all(int(jobs.ctypes.data), len(pieces))
    found: list[int] = jobs["digest"].tolist()
    return found


def piece_of(values: npt.NDArray[np.generic]) -> Piece:
    """Where a contiguous array lies."""
    return int(values.ctypes.data), values.nbytes

"""What a process and its children use: memory and CPU.

Belongs here: numbers of the operating system. Does not belong here: which processes are of interest (`status`).
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil


@dataclass(frozen=True, slots=True)
class Usage:
    """Sums over a process and its descendants, in bytes. `rss` counts a shared page in each process, `pss` once in all.

    `cpu` is the share of one core over the sampled time, so 2.0 is two cores busy.
    """

    rss: int
    pss: int
    cpu: float
    children: int


def usage(pids: Sequence[int], sample_seconds: float = 0.2) -> Mapping[int, Usage]:
    """Measure these processes with their descendants; one that is gone is absent."""
    trees = {pid: tree for pid in pids if (tree := _tree(pid))}
    before = {pid: sum(map(_cpu_seconds, tree)) for pid, tree in trees.items()}
    begun = time.monotonic()
    time.sleep(sample_seconds)
    elapsed = time.monotonic() - begun
    return {
        pid: Usage(
            rss=sum(map(_rss, tree)),
            pss=sum(map(_pss, tree)),
            cpu=max(0.0, sum(map(_cpu_seconds, tree)) - before[pid]) / elapsed,
            children=len(tree) - 1,
        )
        for pid, tree in trees.items()
    }


def _tree(pid: int) -> list[psutil.Process]:
    try:
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    except psutil.Error:
        return []


def _cpu_seconds(process: psutil.Process) -> float:
    try:
        times = process.cpu_times()
    except psutil.Error:
        return 0.0
    return float(times.user + times.system)


def _rss(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.Error:
        return 0


def _pss(process: psutil.Process) -> int:
    """The kernel's own sum (smaps_rollup) takes a tenth of a millisecond; RSS where there is none."""
    try:
        for line in Path(f"/proc/{process.pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return _rss(process)

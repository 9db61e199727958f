"""Memory of the whole local stack while it works: `tally up`, a stream of 300 events/s, `tally status`."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

RATE = 300
SECONDS = 60
LIMIT = 2.5e9


def test_stack_memory(stack: Any, figures: Any) -> None:
    started = stack.tally("up")
    command = [str(Path(sys.executable).parent / "tally"), "simulate", "--rate", str(RATE), "--steady"]
    environment = {**os.environ, **stack.settings.environment()}
    stream = subprocess.Popen(
        [*command, "--duration", f"{SECONDS}s"], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    looks = []
    while stream.poll() is None:
        looks.append(stack.tally("status"))
        time.sleep(5)
    assert stream.returncode == 0
    peak = max(looks, key=lambda look: look["memory"])
    parts = sorted(peak["processes"], key=lambda process: -process["usage"]["pss"])
    for process in parts:
        used = process["usage"]
        figures.add(
            f"memory of `{process['name']}`",
            f"{used['pss'] / 1e6:,.0f} MB",
            against=f"RSS {used['rss'] / 1e6:,.0f} MB, {used['children']} children",
            ratio=f"{used['pss'] / peak['memory']:.0%}",
        )
    last = looks[-1]["memory"]
    resident = sum(process["usage"]["rss"] for process in peak["processes"])
    figures.add(
        f"memory of the whole stack at {RATE} events/s, peak of {len(looks)} looks in {SECONDS} s",
        f"{peak['memory'] / 1e9:.2f} GB, at last {last / 1e9:.2f}",
        against=f"sum of RSS {resident / 1e9:.2f} GB; `tally up` took {started['seconds']:.0f} s",
        ratio=f"{peak['memory'] / LIMIT:.0%} of the limit",
        target="under 2.5 GB",
        reached=peak["memory"] < LIMIT,
    )

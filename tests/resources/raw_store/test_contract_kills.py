"""What every raw store promises when its writer is killed at any instant and started again."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import polars as pl

from resources.raw_store import PositionRange, RawStore, VerdictCounts

TOPIC = "content-events"
BATCHES, ROWS = 12, 400


def test_a_writer_killed_anywhere_and_started_again_leaves_exact_verdicts(
    tmp_path: Path, store_url: str, store: RawStore, make_events: Any, make_rejects: Any
) -> None:
    """SIGKILL at eight seeded moments, each time the same batches again: every position ends with its one verdict."""
    rng = random.Random(11)
    ids = [f"id-{rng.randrange(BATCHES * ROWS // 2)}" for _ in range(BATCHES * ROWS)]
    refused = set(rng.sample(range(BATCHES * ROWS), 50))
    for number in range(BATCHES):
        start = number * ROWS
        offsets = [n for n in range(start, start + ROWS) if n in refused]
        events = make_events(ids[start : start + ROWS], start=start)
        events.filter(~pl.col("log_offset").is_in(offsets)).write_ipc(tmp_path / f"events-{number}.arrow")
        rejects = make_rejects(len(offsets), topic=TOPIC, log_offset=offsets)
        rejects.write_ipc(tmp_path / f"rejects-{number}.arrow")
    command = [sys.executable, str(Path(__file__).with_name("_writer.py")), store_url, str(tmp_path), str(BATCHES)]
    for _ in range(8):
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            for _ in range(rng.randrange(1, 4)):
                process.stdout.readline()
            time.sleep(rng.random() * 0.02)
            process.kill()
    subprocess.run(command, check=True, capture_output=True)

    accepted = [name for n, name in enumerate(ids) if n not in refused]
    where = PositionRange(TOPIC, 0, 0, BATCHES * ROWS)
    stored = len(set(accepted))
    assert store.verdicts([where])[where] == VerdictCounts(stored, len(accepted) - stored, len(refused))
    assert store.missing_offsets(where) == []
    first = {name: n for n, name in reversed(list(enumerate(ids))) if n not in refused}
    found = pl.concat(list(store.read_events([where])))
    assert dict(zip(found["event_id"], found["log_offset"], strict=True)) == first

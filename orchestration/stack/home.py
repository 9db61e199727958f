"""What a home folder remembers between two starts of its stack: `settings.env`.

Belongs here: writing lines of that file, choosing free ports for it. Does not belong here: reading it (settings).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from orchestration.settings import Settings
from orchestration.stack.ports import free_port_from, is_free


def remember(file: Path, values: Mapping[str, str]) -> None:
    """Set these lines of a settings file, and leave its other lines as they are."""
    lines = file.read_text().splitlines() if file.exists() else []
    kept = [line for line in lines if line.partition("=")[0].strip() not in values]
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("\n".join([*kept, *(f"{name}={value}" for name, value in values.items())]) + "\n")


def moved_ports(settings: Settings, names: Iterable[str]) -> dict[str, str]:
    """For each of these port settings that something else uses: its variable and the next free port."""
    moved: dict[str, str] = {}
    taken: set[int] = set()
    for name in names:
        wanted: int = getattr(settings, name)
        port = wanted if wanted not in taken and is_free(wanted) else free_port_from(wanted + 1, frozenset(taken))
        taken.add(port)
        if port != wanted:
            moved[f"TALLY_{name.upper()}"] = str(port)
    return moved

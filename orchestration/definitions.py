"""Both code locations in one, for `dg check defs`, `dg list defs` and `dagster dev -m orchestration.definitions`."""

from __future__ import annotations

from orchestration.assembly import build_definitions

defs = build_definitions("all")

"""Code location `realtime`. Belongs here: nothing but its definitions (`orchestration.assembly`)."""

from __future__ import annotations

from orchestration.assembly import build_definitions

defs = build_definitions("realtime")

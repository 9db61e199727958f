"""Rendering of the query layer's SQL templates with the project's macros.

Belongs here: the Jinja environment. Does not belong here: SQL.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

HERE = Path(__file__).resolve().parent
MACROS = HERE.parent / "dbt_project" / "macros"


@cache
def _environment() -> Environment:
    # SQL, not HTML: values never reach a template, they are query parameters
    return Environment(  # noqa: S701
        loader=FileSystemLoader([HERE, MACROS]), undefined=StrictUndefined
    )


def render(template: str, **context: Any) -> str:
    """Render `serving/<template>`; it imports macros by their file's name, e.g. `{% from 'metrics.sql' import … %}`."""
    lines = _environment().get_template(template).render(**context).splitlines()
    return "\n".join(line.rstrip() for line in lines if line.strip())

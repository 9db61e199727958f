"""The SQL that dbt_project writes once, rendered for those who run it outside dbt: live views, builds, checks, queries.

Belongs here: rendering. Does not belong here: SQL text.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

import jinja2

_ROOT = Path(__file__).resolve().parent.parent.parent
MACROS = _ROOT / "dbt_project" / "macros"
SCHEMA = Path(__file__).with_name("schema.sql")


@cache
def _macros() -> dict[str, Any]:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(MACROS),
        undefined=jinja2.StrictUndefined,
        autoescape=False,  # noqa: S701 # SQL, not HTML; values travel as parameters, never through here
    )
    # Like dbt, every macro sees every other one, whichever file it is in.
    texts = [path.read_text() for path in sorted(MACROS.glob("*.sql"))]
    module = environment.from_string("\n".join(texts)).module
    return {name: getattr(module, name) for name in dir(module) if not name.startswith("_")}


def render(macro: str, /, **arguments: Any) -> str:
    """Render a macro of dbt_project/macros by name. Raises KeyError naming the macro when there is none."""
    macros = _macros()
    if macro not in macros:
        raise KeyError(f"no macro {macro!r} in dbt_project/macros")
    return str(macros[macro](**arguments)).strip()


def schema_statements(*, replicated: bool = False) -> list[str]:
    """The statements of schema.sql, in order; with `replicated`, table engines are their Replicated* kind."""

    def merge_tree(engine: str, *arguments: str) -> str:
        return f"{'Replicated' if replicated else ''}{engine}({', '.join(arguments)})"

    text = jinja2.Template(SCHEMA.read_text(), undefined=jinja2.StrictUndefined).render(merge_tree=merge_tree)
    bare = re.sub(r"^\s*--.*$", "", text, flags=re.MULTILINE)
    return [statement.strip() for statement in bare.split(";") if statement.strip()]

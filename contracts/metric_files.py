"""What is made of the metric catalogue: SQL macros, dbt's column docs and the page of all metrics.

`python -m contracts.metric_files` writes them; a test says when they are out of date. Belongs here: rendering entries.
Does not belong here: what an entry may say (`contracts.metric_catalogue`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

from contracts.metric_catalogue import (
    Fact,
    Metric,
    Part,
    Ratio,
    catalogue,
    dataset_of,
    measures_of,
    parts_of,
    types_of,
)

_WRITTEN = "Written by `python -m contracts.metric_files` from contracts/metrics/*.yaml: change those."


def part_sql(part: Part) -> str:
    """Return the aggregate expression of a count over rows with `type`, `events` and `actors`, or of facts."""
    if isinstance(part, Fact):
        return f"sumIf(value, measure IN ({_quoted(part.sum)}))"
    count = part
    aggregate = "sum" if count.column == "events" else "uniqExactMerge"
    if not count.types:
        return f"{aggregate}({count.column})"
    return f"{aggregate}If({count.column}, type IN ({_quoted(count.types)}))"


def render_macros(metrics: Mapping[str, Metric]) -> str:
    """Return the catalogue as macros that dbt and plain Jinja render alike."""
    parts = {m.id: parts_of(m, metrics) for m in metrics.values()}
    engagement = {name: each for name, each in parts.items() if not dataset_of(each[0])}
    factors = {m.id: m.measure.factor if isinstance(m.measure, Ratio) else 1 for m in metrics.values()}
    return "\n".join(
        (
            f"{{# {_WRITTEN} #}}",
            "{# The metrics that the engagement rollups answer. #}",
            f"{{% macro metric_ids() %}}{','.join(engagement)}{{% endmacro %}}",
            "",
            "{# A metric's value over rows of rollups (type, events, actors) or facts (measure, value), grouped. #}",
            "{% macro metric_value(metric) -%}",
            "{%- if metric_denominator(metric) | trim -%}",
            "if({{ metric_denominator(metric) }} = 0, NULL, "
            "{{ metric_factor(metric) }}{{ metric_numerator(metric) }} / {{ metric_denominator(metric) }})",
            "{%- else -%}{{ metric_numerator(metric) }}{%- endif -%}",
            "{%- endmacro %}",
            "",
            "{# A ratio's numerator, or the whole of a count. #}",
            *_choice("metric_numerator", {name: part_sql(each[0]) for name, each in parts.items()}),
            "",
            "{# A ratio's denominator; empty for a count. #}",
            *_choice("metric_denominator", {n: part_sql(p[1]) if len(p) == 2 else "" for n, p in parts.items()}),
            "",
            "{# The event types a metric needs, for `type IN (…)`; empty where it needs every type. #}",
            *_choice("metric_types", {name: _quoted(types_of(each)) for name, each in parts.items()}),
            "",
            "{# What a ratio is multiplied by, with its sign; empty for 1. #}",
            *_choice("metric_factor", {name: f"{each:g} * " if each != 1 else "" for name, each in factors.items()}),
            "",
            "{# The measures of facts that a metric needs. #}",
            *_choice("metric_measures", {name: _quoted(measures_of(each)) for name, each in parts.items()}),
            "",
        )
    )


def _quoted(names: tuple[str, ...]) -> str:
    return ", ".join(f"'{name}'" for name in names)


def _choice(name: str, values: Mapping[str, str]) -> list[str]:
    rows = [f'    "{metric}": "{sql}",' for metric, sql in values.items()]
    return [f"{{% macro {name}(metric) -%}}", "{{ {", *rows, "}[metric] }}", "{%- endmacro %}"]


def render_overview_properties(metrics: Mapping[str, Metric]) -> str:
    """Return dbt's column docs of the mart that has one column per metric."""
    lines = [
        f"# {_WRITTEN}",
        "version: 2",
        "models:",
        "  - name: engagement_overview_daily",
        "    description: One row per sealed day, workspace and network, one column per metric of the catalogue.",
        "    data_tests: [{unique_combination: {arguments: {columns: [day, workspace, network]}}}]",
        "    columns:",
    ]
    for metric in (each for each in metrics.values() if not dataset_of(parts_of(each, metrics)[0])):
        text = f"{metric.title}, version {metric.version}: {metric.formula} ({metric.unit}; {metric.null_rule})."
        lines += [f"      - name: {metric.id}", f"        description: {json.dumps(f'{text} {metric.description}')}"]
    return "\n".join((*lines, ""))


def render_page(metrics: Mapping[str, Metric]) -> str:
    """Return the page of all metrics (Markdown)."""
    lines = [
        "# Metrics",
        "",
        f"<!-- {_WRITTEN} -->",
        "Every number Tally serves, one file each in `contracts/metrics/`. Additive metrics may be summed over",
        "buckets and groups; distinct ones are merged from sets, never summed; ratios are the sum of numerators over",
        "the sum of denominators. Over several networks a ratio is given pooled and as the mean of their ratios.",
        "",
        "| id | version | formula | unit | additivity | null rule |",
        "|---|---|---|---|---|---|",
    ]
    lines += (
        f"| `{m.id}` | {m.version} | {m.formula} | {m.unit} | {m.additivity} | {m.null_rule} |"
        for m in metrics.values()
    )
    for metric in metrics.values():
        lines += ["", f"## {metric.title}", "", f"`{metric.id}`: {metric.description}", ""]
        for word, part in zip(("counts", "over"), parts_of(metric, metrics), strict=False):
            lines.append(f"- {word}: {_in_words(part)}")
        if isinstance(metric.measure, Ratio) and metric.measure.factor != 1:
            lines.append(f"- times: {metric.measure.factor:g}")
        lines.append(f"- source: {metric.source}")
    return "\n".join((*lines, ""))


def _in_words(part: Part) -> str:
    if isinstance(part, Fact):
        return f"{', '.join(f'`{name}`' for name in part.sum)} of dataset `{part.dataset}`"
    types = ", ".join(f"`{name}`" for name in part.types) or "every type"
    return f"{'events' if part.column == 'events' else 'distinct actors'} of {types}"


FILES: Mapping[str, Callable[[Mapping[str, Metric]], str]] = {
    "dbt_project/macros/metrics.sql": render_macros,
    "dbt_project/models/marts/engagement_overview_daily.yml": render_overview_properties,
    "docs/metrics.md": render_page,
}
"""Every file that is written, by its path in the project."""


def write_files(root: Path) -> None:
    """Write all of them."""
    for path, rendered in FILES.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(rendered(catalogue()), encoding="utf-8")


if __name__ == "__main__":
    write_files(Path(__file__).resolve().parent.parent)

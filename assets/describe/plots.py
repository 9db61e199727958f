"""Small plots inside metadata: SVG as a data URI in Markdown.

Belongs here: drawing stacked bars and lines. Does not belong here: choosing what to draw.

Drawn here and not by a plotting library, because every materialization keeps its plot in Dagster's event log for ever:
48 stacked bars are 5 KB here, and 67 KB drawn by pygal without its script (measured, pygal 3.1.3).
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from html import escape

import dagster as dg

from assets.describe.markdown import cell

MOST_POINTS = 48
COLOURS = ("#3b6fd4", "#e0913a", "#c2484d", "#5a9e6f", "#8a63b8", "#7a7a7a", "#2aa6a6", "#d46fa8")

_WIDTH, _HEIGHT = 640, 200
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 12, 30, 40
_PLOT_W, _PLOT_H = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM

Series = Mapping[str, Sequence[float | int | None]]


def bars(title: str, labels: Sequence[str], series: Series) -> dg.MarkdownMetadataValue:
    """Stacked bars, one per label; of more than MOST_POINTS labels the last ones are drawn."""
    labels, series = _last(labels, series)
    sums = [sum(values[i] or 0 for values in series.values()) for i in range(len(labels))]
    top = _ceiling(max(sums, default=0))
    width = _PLOT_W / max(len(labels), 1)
    below = [0.0] * len(labels)
    paths = []
    for colour, values in zip(_colours(series), series.values(), strict=True):
        path = []
        for i, value in enumerate(values):
            if not value:
                continue
            height = value / top * _PLOT_H
            y = _TOP + _PLOT_H - below[i] - height
            path.append(f"M{_LEFT + (i + 0.1) * width:.1f} {y:.1f}h{width * 0.8:.1f}v{height:.1f}h-{width * 0.8:.1f}z")
            below[i] += height
        paths.append(f'<path fill="{colour}" d="{"".join(path)}"/>')
    return _markdown(title, labels, series, top, "".join(paths))


def lines(title: str, labels: Sequence[str], series: Series) -> dg.MarkdownMetadataValue:
    """One line per series; a None is a gap, not a zero."""
    labels, series = _last(labels, series)
    top = _ceiling(max((value or 0 for values in series.values() for value in values), default=0))
    step = _PLOT_W / max(len(labels), 1)
    paths = []
    for colour, values in zip(_colours(series), series.values(), strict=True):
        path, pen = [], "M"
        for i, value in enumerate(values):
            if value is None:
                pen = "M"
                continue
            path.append(f"{pen}{_LEFT + (i + 0.5) * step:.1f} {_TOP + _PLOT_H * (1 - value / top):.1f}")
            pen = "L"
        paths.append(f'<path fill="none" stroke="{colour}" stroke-width="2" d="{"".join(path)}"/>')
    return _markdown(title, labels, series, top, "".join(paths))


def _markdown(title: str, labels: Sequence[str], series: Series, top: float, shapes: str) -> dg.MarkdownMetadataValue:
    texts = [f'<text x="{_LEFT}" y="16" font-size="13">{escape(title)}</text>']
    for share in (0.0, 0.5, 1.0):
        y = _TOP + _PLOT_H * (1 - share)
        texts.append(f'<path stroke="#ddd" d="M{_LEFT} {y:.1f}h{_PLOT_W}"/>')
        texts.append(f'<text x="{_LEFT - 6}" y="{y + 3:.1f}" text-anchor="end">{cell(top * share)}</text>')
    every = max(1, -(-len(labels) // 8))
    for i in range(0, len(labels), every):
        x = _LEFT + (i + 0.5) * _PLOT_W / len(labels)
        texts.append(f'<text x="{x:.1f}" y="{_TOP + _PLOT_H + 14}" text-anchor="middle">{escape(labels[i])}</text>')
    if len(series) > 1:
        x = float(_LEFT)
        for colour, name in zip(_colours(series), series, strict=True):
            texts.append(f'<path fill="{colour}" d="M{x:.0f} {_HEIGHT - 14}h8v8h-8z"/>')
            texts.append(f'<text x="{x + 12:.0f}" y="{_HEIGHT - 6}">{escape(name)}</text>')
            x += 24 + 6.2 * len(name)
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{_HEIGHT}"'
        ' font-family="sans-serif" font-size="10">'
        f'<rect width="100%" height="100%" fill="#fff"/>{"".join(texts)}{shapes}</svg>'
    )
    data = base64.b64encode(svg.encode()).decode()
    return dg.MetadataValue.md(f"![{title}](data:image/svg+xml;base64,{data})")


def _last(labels: Sequence[str], series: Series) -> tuple[Sequence[str], Series]:
    return labels[-MOST_POINTS:], {name: list(values)[-MOST_POINTS:] for name, values in series.items()}


def _colours(series: Series) -> list[str]:
    return [COLOURS[i % len(COLOURS)] for i in range(len(series))]


def _ceiling(value: float) -> float:
    """The next 1, 2 or 5 times a power of ten, so that the axis has a round top."""
    if value <= 0:
        return 1.0
    power = 10.0 ** (len(str(int(value))) - 1) if value >= 1 else 0.1
    return next(step * power for step in (1, 2, 5, 10) if step * power >= value)

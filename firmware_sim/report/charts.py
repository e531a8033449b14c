"""Charts of the report as inline SVG. Colours and fonts are CSS classes of the page; the page also scales the charts."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from html import escape

WIDTH, HEIGHT = 440, 270
LEFT, RIGHT, NARROW, TOP, BOTTOM = 50, 74, 14, 14, 52
"""Margins around the plot in units of the drawing. RIGHT holds the values at the ends of lines, NARROW is used without them."""

Curve = Sequence[tuple[int, tuple[float, ...]]]
Scale = Callable[[float], float]


def accuracy(curve: Curve, names: Sequence[str]) -> str:
    """Accuracy (fractions 0..1) against samples learnt, one line for each name."""
    lowest = min(value for _, values in curve for value in values)
    floor = max(0, math.floor(lowest * 10 - 0.5) / 10)
    percent = [(step, tuple(100 * value for value in values)) for step, values in curve]
    up = (100 * floor, 100.0)
    return _lines(percent, names, up, "accuracy, %", "samples learnt on the device", lambda v: f"{v:.1f} %")


def course(rows: Sequence[tuple[int, float, float]], call: str, limit: float | None) -> str:
    """Duration of the calls over the stream: mean and worst of each part, and the budget. rows: Cost.course."""
    curve = [(end, (mean, worst)) for end, mean, worst in rows]
    top = max(worst for _, _, worst in rows)
    if limit is not None and limit < 3 * top:  # a budget far above all calls would leave no room for the lines
        top = max(top, limit)
    return _lines(curve, ("mean", "worst"), (0, 1.08 * top), "ms", f"{call}s, in order", lambda v: f"{v:.3g}", limit)


def _lines(
    curve: Curve,
    names: Sequence[str],
    up: tuple[float, float],
    unit: str,
    across: str,
    show: Callable[[float], str],
    limit: float | None = None,
) -> str:
    x, y = _scale(0, max(curve[-1][0], 1), LEFT, WIDTH - RIGHT), _scale(*up, HEIGHT - BOTTOM, TOP)
    parts = []
    for tick in _ticks(*up, 5):
        parts += [
            _line(LEFT, y(tick), WIDTH - RIGHT, y(tick), "grid"),
            _text(LEFT - 6, y(tick) + 4, f"{tick:g}", "end"),
        ]
    for tick in _ticks(0, curve[-1][0], 4):
        parts.append(_text(x(tick), HEIGHT - BOTTOM + 18, f"{tick:,.0f}", "middle"))
    if limit is not None and up[0] <= limit <= up[1]:
        parts += [
            _line(LEFT, y(limit), WIDTH - RIGHT, y(limit), "limit"),
            _text(WIDTH - RIGHT, y(limit) - 5, f"budget {limit:g} {unit}", "end"),
        ]
    labels = _apart([y(value) for value in curve[-1][1]], 16)
    for i, name in enumerate(names):
        points = [(x(step), y(values[i])) for step, values in curve]
        path = "M" + "L".join(f"{px:.1f} {py:.1f}" for px, py in points)
        parts.append(f'<path class="line s{i}" d="{path}"><title>{escape(name)}</title></path>')
        for px, py in (points[0], points[-1]):
            parts.append(f'<circle class="dot s{i}" cx="{px:.1f}" cy="{py:.1f}" r="3.5"/>')
        parts.append(_text(points[-1][0] + 8, labels[i] + 4, show(curve[-1][1][i]), "start", f"value t{i}"))
    parts += _axis_titles(across, unit, RIGHT)
    return _svg(f"{unit} against {across}: {', '.join(names)}", parts)


def levels(before: Mapping[int, int], after: Mapping[int, int]) -> str:
    """Number of synapses at each level: an outline before learning, bars after it."""
    lowest, highest = min([*before, *after]), max([*before, *after])
    tallest = max([*before.values(), *after.values(), 1])
    x, y = _scale(lowest - 0.5, highest + 0.5, LEFT, WIDTH - NARROW), _scale(0, tallest * 1.05, HEIGHT - BOTTOM, TOP)
    parts = []
    for tick in _ticks(0, tallest, 4):
        parts += [
            _line(LEFT, y(tick), WIDTH - NARROW, y(tick), "grid"),
            _text(LEFT - 6, y(tick) + 4, _short(tick), "end"),
        ]
    gap = min(3.0, 0.2 * (x(1) - x(0)))
    for level in range(lowest, highest + 1):
        count, sign = after.get(level, 0), "minus" if level < 0 else "plus"
        title = f"<title>level {level}: {before.get(level, 0):,} before, {count:,} after</title>"
        width = x(level + 0.5) - x(level - 0.5) - gap
        corner = f'x="{x(level - 0.5) + gap / 2:.1f}" y="{y(count):.1f}"'
        size = f'width="{width:.1f}" height="{y(0) - y(count):.1f}"'
        parts.append(f'<rect class="bar {sign}" {corner} {size} rx="1">{title}</rect>')
    outline = f"M{x(lowest - 0.5):.1f} {y(0):.1f}"
    for level in range(lowest, highest + 1):
        outline += f"V{y(before.get(level, 0)):.1f}H{x(level + 0.5):.1f}"
    parts.append(f'<path class="outline" d="{outline}V{y(0):.1f}"/>')
    parts.append(_line(x(-0.5), TOP, x(-0.5), HEIGHT - BOTTOM, "divide"))
    ticks = {lowest, lowest // 2, 0, (highest + 1) // 2, highest}
    for tick in sorted(ticks | ({-1} if highest - lowest < 20 else set())):
        parts.append(_text(x(tick), HEIGHT - BOTTOM + 18, f"{tick}".replace("-", "−"), "middle"))
    parts += _axis_titles("level (weight −1 left of the line, +1 right)", "synapses", NARROW)
    return _svg("Synapses at each level before and after learning", parts)


def _scale(low: float, high: float, start: float, end: float) -> Scale:
    span = (high - low) or 1.0
    return lambda value: start + (value - low) / span * (end - start)


def _ticks(low: float, high: float, count: int) -> list[float]:
    """Return round numbers in [low, high], about `count` of them."""
    raw = max(high - low, 1e-9) / count
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [i * step for i in range(first, math.floor(high / step + 1e-9) + 1)]


def _apart(places: Sequence[float], gap: float) -> list[float]:
    """Move labels down until no two of them overlap."""
    moved, last = list(places), -math.inf
    for i in sorted(range(len(moved)), key=lambda i: moved[i]):
        moved[i] = last = max(moved[i], last + gap)
    return moved


def _short(count: float) -> str:
    return f"{count / 1000:g}k" if count >= 1000 else f"{count:g}"


def _axis_titles(across: str, up: str, right: float) -> list[str]:
    middle = TOP + (HEIGHT - TOP - BOTTOM) / 2
    return [
        _text((LEFT + WIDTH - right) / 2, HEIGHT - 8, across, "middle", "axis"),
        f'<text class="axis" text-anchor="middle" transform="translate(12 {middle:.0f}) rotate(-90)">{escape(up)}</text>',
    ]


def _line(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def _text(x: float, y: float, text: str, anchor: str, kind: str = "tick") -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _svg(title: str, parts: Sequence[str]) -> str:
    head = f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}">'
    return head + "".join(parts) + "</svg>"

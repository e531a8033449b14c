"""The two charts of the report, as inline SVG. Colours and fonts come from the page's CSS classes, so they follow its theme."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from html import escape

WIDTH, HEIGHT = 560, 280
LEFT, RIGHT, NARROW, TOP, BOTTOM = 52, 92, 16, 14, 44
"""Room for axis labels; RIGHT for the values at the ends of lines, NARROW where there are none."""

Curve = Sequence[tuple[int, tuple[float, ...]]]
Scale = Callable[[float], float]


def accuracy(curve: Curve, worlds: Sequence[str]) -> str:
    """Accuracy (fractions 0..1) over samples learned, one line per world."""
    lowest = min(value for _, values in curve for value in values)
    floor = max(0, math.floor(lowest * 10 - 0.5) / 10)
    x, y = _scale(0, max(curve[-1][0], 1), LEFT, WIDTH - RIGHT), _scale(floor, 1, HEIGHT - BOTTOM, TOP)
    parts = []
    for tick in _ticks(floor, 1, 5):
        parts += [
            _line(LEFT, y(tick), WIDTH - RIGHT, y(tick), "grid"),
            _text(LEFT - 8, y(tick) + 4, f"{100 * tick:.0f}", "end"),
        ]
    for tick in _ticks(0, curve[-1][0], 6):
        parts.append(_text(x(tick), HEIGHT - BOTTOM + 18, f"{tick:,.0f}", "middle"))
    labels = _apart([y(value) for value in curve[-1][1]], 15)
    for i, world in enumerate(worlds):
        points = [(x(step), y(values[i])) for step, values in curve]
        path = "M" + "L".join(f"{px:.1f} {py:.1f}" for px, py in points)
        last = curve[-1][1][i]
        parts.append(f'<path class="line s{i}" d="{path}"><title>{escape(world)}</title></path>')
        for px, py in (points[0], points[-1]):
            parts.append(f'<circle class="dot s{i}" cx="{px:.1f}" cy="{py:.1f}" r="4"/>')
        parts.append(_text(points[-1][0] + 10, labels[i] + 4, f"{100 * last:.1f} %", "start", f"value t{i}"))
    parts += _axis_titles("samples learned on the device", "accuracy, %", RIGHT)
    return _svg("Accuracy while learning: " + ", ".join(worlds), parts)


def levels(before: Mapping[int, int], after: Mapping[int, int]) -> str:
    """How many synapses stand at each hidden level: before as an outline, after as bars."""
    lowest, highest = min([*before, *after]), max([*before, *after])
    tallest = max([*before.values(), *after.values(), 1])
    x, y = _scale(lowest - 0.5, highest + 0.5, LEFT, WIDTH - NARROW), _scale(0, tallest * 1.05, HEIGHT - BOTTOM, TOP)
    parts = []
    for tick in _ticks(0, tallest, 4):
        parts += [
            _line(LEFT, y(tick), WIDTH - NARROW, y(tick), "grid"),
            _text(LEFT - 8, y(tick) + 4, _short(tick), "end"),
        ]
    for level in range(lowest, highest + 1):
        count, sign = after.get(level, 0), "minus" if level < 0 else "plus"
        title = f"<title>level {level}: {before.get(level, 0):,} before, {count:,} after</title>"
        width = x(level + 0.5) - x(level - 0.5) - 3
        corner = f'x="{x(level - 0.5) + 1.5:.1f}" y="{y(count):.1f}"'
        size = f'width="{width:.1f}" height="{y(0) - y(count):.1f}"'
        parts.append(f'<rect class="bar {sign}" {corner} {size} rx="1.5">{title}</rect>')
    outline = f"M{x(lowest - 0.5):.1f} {y(0):.1f}"
    for level in range(lowest, highest + 1):
        outline += f"V{y(before.get(level, 0)):.1f}H{x(level + 0.5):.1f}"
    parts.append(f'<path class="outline" d="{outline}V{y(0):.1f}"/>')
    parts.append(_line(x(-0.5), TOP, x(-0.5), HEIGHT - BOTTOM, "divide"))
    for tick in sorted({lowest, lowest // 2, -1, 0, (highest + 1) // 2, highest}):
        parts.append(_text(x(tick), HEIGHT - BOTTOM + 18, f"{tick}".replace("-", "−"), "middle"))
    parts += _axis_titles("hidden level  (weight −1 left of the line, +1 right)", "synapses", NARROW)
    return _svg("Synapses at each hidden level before and after", parts)


def _scale(low: float, high: float, start: float, end: float) -> Scale:
    span = (high - low) or 1.0
    return lambda value: start + (value - low) / span * (end - start)


def _ticks(low: float, high: float, count: int) -> list[float]:
    """Round numbers in [low, high], about `count` of them."""
    raw = max(high - low, 1e-9) / count
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [i * step for i in range(first, math.floor(high / step + 1e-9) + 1)]


def _apart(places: Sequence[float], gap: float) -> list[float]:
    """Move labels down until none covers another."""
    moved, last = list(places), -math.inf
    for i in sorted(range(len(moved)), key=lambda i: moved[i]):
        moved[i] = last = max(moved[i], last + gap)
    return moved


def _short(count: float) -> str:
    return f"{count / 1000:g}k" if count >= 1000 else f"{count:g}"


def _axis_titles(across: str, up: str, right: float) -> list[str]:
    middle = TOP + (HEIGHT - TOP - BOTTOM) / 2
    return [
        _text((LEFT + WIDTH - right) / 2, HEIGHT - 6, across, "middle", "axis"),
        f'<text class="axis" text-anchor="middle" transform="translate(12 {middle:.0f}) rotate(-90)">{escape(up)}</text>',
    ]


def _line(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def _text(x: float, y: float, text: str, anchor: str, kind: str = "tick") -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _svg(title: str, parts: Sequence[str]) -> str:
    head = f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}">'
    return head + "".join(parts) + "</svg>"

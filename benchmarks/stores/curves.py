"""Curves as SVG: counts across on a logarithmic scale, milliseconds upwards from nought."""

import math
from collections.abc import Sequence
from html import escape

from msgspec import Struct

from benchmarks.figures import counted
from benchmarks.picture import STYLE

_WIDTH, _HEIGHT = 960, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 70, 840, 56, 250
_COLOURS = ("#2f6fde", "#2da44e", "#bf5b04", "#8250df")
_STEPS = 4
_NICE = (1, 2, 2.5, 5, 10)


class Line(Struct, frozen=True):
    name: str
    milliseconds: list[float]


class Curve(Struct, frozen=True):
    """One picture: ``milliseconds`` of each line are aligned with ``counts``."""

    title: str
    across: str
    counts: list[int]
    lines: list[Line]


def draw_curves(title: str, curves: Sequence[Curve]) -> str:
    """All ``curves``, one below the other, as SVG text."""
    height = _HEIGHT * len(curves) + 40
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" role="img"',
        f'     aria-label="{escape(title, quote=True)}">',
        f"<style>{STYLE}</style>",
        f'<rect class="paper" width="{_WIDTH}" height="{height}"/>',
        f'<text class="title ink" x="16" y="30">{escape(title)}</text>',
    ]
    for number, curve in enumerate(curves):
        parts.append(f'<g transform="translate(0 {40 + number * _HEIGHT})">')
        parts += [*_axes(curve), *_lines(curve), "</g>"]
    return "\n".join([*parts, "</svg>", ""])


def _highest(curve: Curve) -> float:
    """A round number above every value, in ``_STEPS`` round steps."""
    most = max(value for line in curve.lines for value in line.milliseconds)
    step = max(most, 1e-3) / _STEPS
    power = 10.0 ** math.floor(math.log10(step))
    return _STEPS * power * next(nice for nice in _NICE if nice * power >= step)


def _x(curve: Curve, count: int) -> float:
    first, last = math.log10(curve.counts[0]), math.log10(curve.counts[-1])
    share = (math.log10(count) - first) / (last - first) if last > first else 0.5
    return _LEFT + share * (_RIGHT - _LEFT)


def _y(curve: Curve, value: float) -> float:
    return _BOTTOM - value / _highest(curve) * (_BOTTOM - _TOP)


def _axes(curve: Curve) -> list[str]:
    parts = [f'<text class="ink" x="16" y="30">{escape(curve.title)}</text>']
    for step in range(_STEPS + 1):
        value = _highest(curve) * step / _STEPS
        y = _y(curve, value)
        parts.append(f'<line class="line" x1="{_LEFT}" x2="{_RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(
            f'<text class="small soft" text-anchor="end" x="{_LEFT - 8}" y="{y + 4:.1f}">'
            f"{value:g} ms</text>"
        )
    parts += [
        f'<text class="small soft" text-anchor="middle" x="{_x(curve, count):.1f}" '
        f'y="{_BOTTOM + 20}">{counted(count)}</text>'
        for count in curve.counts
    ]
    return parts


def _lines(curve: Curve) -> list[str]:
    parts = []
    labels = _apart([_y(curve, line.milliseconds[-1]) for line in curve.lines])
    for line, colour, label in zip(curve.lines, _COLOURS, labels, strict=False):
        points = [
            (_x(curve, count), _y(curve, value))
            for count, value in zip(curve.counts, line.milliseconds, strict=True)
        ]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        parts.append(f'<polyline fill="none" stroke="{colour}" stroke-width="2" points="{path}"/>')
        parts += [f'<circle fill="{colour}" r="3" cx="{x:.1f}" cy="{y:.1f}"/>' for x, y in points]
        parts.append(
            f'<text fill="{colour}" x="{_RIGHT + 10}" y="{label + 4:.1f}">'
            f"{escape(line.name)}</text>"
        )
    return parts


def _apart(heights: Sequence[float]) -> list[float]:
    """Where the names of lines stand, so that none covers another."""
    placed: dict[int, float] = {}
    for index in sorted(range(len(heights)), key=lambda index: heights[index]):
        floor = max(placed.values(), default=-math.inf) + 15
        placed[index] = max(heights[index], floor)
    return [placed[index] for index in range(len(heights))]

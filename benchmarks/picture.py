"""Draws figures against their targets as one SVG, with nothing but text formatting.

Each figure is a bar from its target, on a logarithmic scale: to the right what is better than
asked, to the left what is missing. Figures without a target are left out.
"""

import math
from collections.abc import Sequence
from html import escape

from benchmarks.figures import Figure, shown

_WIDTH = 960
_ROW = 26
_TOP = 78
_AXIS = 560
"""Where the target line stands."""
_OCTAVE = 56
"""Pixels for each doubling."""
_WANTED = 92
"""Pixels kept for the target at the right edge."""
_RIGHT_OCTAVES = 4.0
_LEFT_OCTAVES = 2.0

STYLE = """
  .paper { fill: #ffffff } .ink { fill: #1f2328 } .soft { fill: #656d76 } .line { stroke: #d0d7de }
  .target { stroke: #1f2328 } .met { fill: #2da44e } .missed { fill: #cf222e }
  text { font: 13px system-ui, sans-serif } .title { font-size: 17px; font-weight: 600 }
  .small { font-size: 11px }
  @media (prefers-color-scheme: dark) {
    .paper { fill: #0d1117 } .ink { fill: #e6edf3 } .soft { fill: #8b949e }
    .line { stroke: #30363d } .target { stroke: #e6edf3 }
  }
"""


def draw(title: str, subtitle: str, figures: Sequence[Figure]) -> str:
    """The picture as SVG text."""
    rows = [figure for figure in figures if figure.target is not None]
    height = _TOP + _ROW * len(rows) + 34
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" role="img"',
        f'     aria-label="{escape(title, quote=True)}">',
        f"<style>{STYLE}</style>",
        f'<rect class="paper" width="{_WIDTH}" height="{height}"/>',
        f'<text class="title ink" x="16" y="30">{escape(title)}</text>',
        f'<text class="small soft" x="16" y="50">{escape(subtitle)}</text>',
        *_scale(height),
    ]
    for index, figure in enumerate(rows):
        parts += _row(figure, _TOP + _ROW * index)
    return "\n".join([*parts, "</svg>", ""])


def _scale(height: int) -> list[str]:
    parts = []
    for octave in range(-int(_LEFT_OCTAVES), int(_RIGHT_OCTAVES) + 1):
        x = _AXIS + octave * _OCTAVE
        kind = "target" if octave == 0 else "line"
        label = "target" if octave == 0 else f"{2.0**octave:g}×"
        parts.append(f'<line class="{kind}" x1="{x}" x2="{x}" y1="{_TOP - 6}" y2="{height - 28}"/>')
        parts.append(
            f'<text class="small soft" text-anchor="middle" x="{x}" y="{height - 12}">'
            f"{label}</text>"
        )
    return parts


def _row(figure: Figure, top: int) -> list[str]:
    assert figure.target is not None
    margin = figure.target.margin(figure.value)
    octaves = math.log2(margin) if margin > 0 else -_LEFT_OCTAVES
    octaves = min(_RIGHT_OCTAVES, max(-_LEFT_OCTAVES, octaves))
    x = min(_AXIS, _AXIS + octaves * _OCTAVE)
    width = max(2.0, abs(octaves) * _OCTAVE)
    middle = top + _ROW // 2 + 4
    wanted = f"{figure.target.bound.value} {shown(figure.target.value, figure.unit)}"
    return [
        f'<text class="ink" x="16" y="{middle}">{escape(figure.name)}</text>',
        f'<rect class="{"met" if figure.met else "missed"}" rx="2" '
        f'x="{x:.1f}" y="{top + 5}" width="{width:.1f}" height="{_ROW - 10}"/>',
        f'<text class="ink" text-anchor="end" x="{_WIDTH - _WANTED}" y="{middle}">'
        f"{escape(shown(figure.value, figure.unit))}</text>",
        f'<text class="small soft" text-anchor="end" x="{_WIDTH - 10}" y="{middle}">'
        f"{escape(wanted)}</text>",
    ]

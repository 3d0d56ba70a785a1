"""Charts as inline SVG (https://www.w3.org/TR/SVG2/): three kinds, drawn from numbers, that need neither script nor network.

Each has a title and a description, which a screen reader reads in its place; what is drawn is told apart by form as well as by shade, so
that it prints in black and white. Everything that is written in one is escaped.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from compliance.markup import text

__all__ = ["CELLS", "Line", "bars", "cells", "lines"]

_WIDTH, _HEIGHT, _LEFT, _TOP, _BOTTOM, _RIGHT = 720, 200, 64, 14, 30, 12
_PLOT = _WIDTH - _LEFT - _RIGHT
_MOST_BARS = 120
_ROW = 18
_NARROW = 4
_DASHES = ("", "7 4", "2 3", "9 3 2 3")
_SHADES = ("#1f4e79", "#b5502f", "#4f7a3a", "#6b6b6b")

CELLS = {"run": "#bcd3e6", "failed": "#6b1f0a", "missed": "#b5502f", "no": "#efefef"}
"""What a cell can be, and its shade; a ``missed`` one is low, and the others are as high as the row. ``no``: not due."""


@dataclass(frozen=True)
class Line:
    """A line: its name, and a value for each label; ``None`` leaves a gap."""

    name: str
    values: Sequence[float | None]


def lines(name: str, told: str, drawn: Sequence[Line], labels: Sequence[str], unit: str) -> str:
    """Lines over a row of days.

    :param told: the description, in a sentence.
    """
    top = _round_up(max((value for line in drawn for value in line.values if value is not None), default=0.0))
    paths = "".join(
        f'<path d="{_path(line.values, top)}" fill="none" stroke="{_SHADES[number % 4]}" stroke-width="1.8"'
        f'{_dashes(number)}/>'
        for number, line in enumerate(drawn)
    )  # fmt: skip
    return _svg(name, told, f"{_axes(top, labels, unit)}{paths}{_key([line.name for line in drawn], True)}", _HEIGHT + 20)


def bars(name: str, told: str, drawn: Mapping[str, Sequence[int]], labels: Sequence[str], unit: str) -> str:
    """Bars side by side over a row of days; days are added up in groups when there are more than fit."""
    group = max(1, math.ceil(len(labels) / _MOST_BARS))
    grouped = {key: [sum(values[at : at + group]) for at in range(0, len(values), group)] for key, values in drawn.items()}
    top = _round_up(max((value for values in grouped.values() for value in values), default=0))
    count = math.ceil(len(labels) / group)
    slot = _PLOT / max(count, 1)
    width = slot * 0.84 / max(len(drawn), 1)
    rects = []
    for number, values in enumerate(grouped.values()):
        for at, value in enumerate(values):
            if value:
                x, height = _LEFT + at * slot + slot * 0.08 + number * width, (_HEIGHT - _TOP - _BOTTOM) * value / top
                rects.append(_rect(x, _HEIGHT - _BOTTOM - height, width, max(height, 0.6), _SHADES[number % 4]))
    more = f"; {group} days together" if group > 1 else ""
    return _svg(name, told + more, f"{_axes(top, labels, unit)}{''.join(rects)}{_key([*drawn], False)}", _HEIGHT + 20)


def cells(name: str, told: str, rows: Mapping[str, Sequence[str]], labels: Sequence[str]) -> str:
    """A row of cells for each name, a cell for each label; the kinds of cells are the keys of :data:`CELLS`."""
    width, drawn = _PLOT / max(len(labels), 1), []
    for number, (row, kinds) in enumerate(rows.items()):
        y = _TOP + number * _ROW
        drawn.append(f'<text x="{_LEFT - 6}" y="{y + 12}" text-anchor="end">{text(row[:11])}</text>')
        drawn.append(_cells(y, width, kinds))
    bottom = _TOP + len(rows) * _ROW
    return _svg(name, told, "".join(drawn) + _ends(labels, bottom + 14) + _cell_key(bottom + 30), bottom + 40)


def _svg(name: str, told: str, drawn: str, height: float) -> str:
    label = text(f"{name}. {told}")
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height:g}" role="img" aria-label="{label}">'
        f"<title>{text(name)}</title><desc>{text(told)}</desc>{drawn}</svg>"
    )


def _cells(y: float, width: float, kinds: Sequence[str]) -> str:
    """The cells of a row; narrow ones that are alike and side by side are one."""
    drawn, at = [], 0
    for kind, group in groupby(kinds):
        count = sum(1 for _ in group)
        together = count if width < _NARROW else 1
        drawn += [_cell(_LEFT + (at + part) * width, y, width * together, kind) for part in range(0, count, together)]
        at += count
    return "".join(drawn)


def _cell(x: float, y: float, width: float, kind: str) -> str:
    height = 4 if kind == "missed" else _ROW - 3
    inner = width - 1 if width >= _NARROW else width
    return _rect(x, y + _ROW - 3 - height, inner, height, CELLS[kind])


def _cell_key(y: float) -> str:
    words = {"run": "run", "failed": "failed", "missed": "missed", "no": "not due"}
    return "".join(
        _cell(_LEFT + 90 * at, y - 12, 14, kind) + f'<text x="{_LEFT + 90 * at + 20}" y="{y:g}">{word}</text>'
        for at, (kind, word) in enumerate(words.items())
    )


def _rect(x: float, y: float, width: float, height: float, shade: str) -> str:
    return f'<rect x="{x:.2f}" y="{y:.2f}" width="{width:.2f}" height="{height:.2f}" fill="{shade}"/>'


def _path(values: Sequence[float | None], top: float) -> str:
    """Straight pieces between values; a piece of one value is a short stroke."""
    step, parts, pen = _PLOT / max(len(values) - 1, 1), list[str](), False
    for at, value in enumerate(values):
        if value is None:
            pen = False
            continue
        point = f"{_LEFT + at * step:.1f} {_HEIGHT - _BOTTOM - (_HEIGHT - _TOP - _BOTTOM) * value / top:.1f}"
        parts.append(f"L{point}" if pen else f"M{point}h1")
        pen = True
    return "".join(parts)


def _axes(top: float, labels: Sequence[str], unit: str) -> str:
    drawn = []
    for part in (0.0, 0.5, 1.0):
        y = _HEIGHT - _BOTTOM - (_HEIGHT - _TOP - _BOTTOM) * part
        drawn.append(f'<path d="M{_LEFT} {y:g}H{_WIDTH - _RIGHT}" stroke="#ccc" stroke-width="0.7"/>')
        drawn.append(f'<text x="{_LEFT - 6}" y="{y + 4:g}" text-anchor="end">{top * part:,g}</text>')
    drawn.append(f'<text x="{_LEFT}" y="10">{text(unit)}</text>')
    return "".join(drawn) + _ends(labels, _HEIGHT - _BOTTOM + 16)


def _ends(labels: Sequence[str], y: float) -> str:
    if not labels:
        return ""
    first = f'<text x="{_LEFT}" y="{y:g}">{text(labels[0])}</text>'
    return first + (f'<text x="{_WIDTH - _RIGHT}" y="{y:g}" text-anchor="end">{text(labels[-1])}</text>' if len(labels) > 1 else "")


def _key(names: Sequence[str], strokes: bool) -> str:
    drawn, y = [], _HEIGHT + 12
    for number, name in enumerate(names):
        x = _LEFT + number * 160
        stroke = f'<path d="M{x} {y - 4}h24" stroke="{_SHADES[number % 4]}" stroke-width="2"{_dashes(number)}/>'
        drawn.append(stroke if strokes else _rect(x, y - 10, 12, 10, _SHADES[number % 4]))
        drawn.append(f'<text x="{x + 30}" y="{y}">{text(name)}</text>')
    return "".join(drawn)


def _dashes(number: int) -> str:
    return f' stroke-dasharray="{_DASHES[number % 4]}"' if _DASHES[number % 4] else ""


def _round_up(value: float) -> float:
    """The next 1, 2, 4, 5 or 10 times a power of ten, which reads well halved; 1 for nothing."""
    if value <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 2, 4, 5, 10) if step * power >= value * 0.999999)

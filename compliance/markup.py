"""HTML and SVG from text that nobody trusts: escaped, and with every character that is not seen shown as an escape."""

from collections.abc import Collection, Iterable, Sequence
from html import escape
from typing import Any

__all__ = ["items", "paragraph", "section", "table", "text"]


def text(value: Any) -> str:
    """A value as text within an element or a quoted attribute. Numbers have commas, fractions one digit; ``None`` is a dash."""
    if value is None:
        return "-"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.1f}"
    return escape("".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(value)))


def paragraph(value: str, kind: str = "") -> str:
    """A paragraph; ``kind`` is the name of its class."""
    return f"<p{_kind(kind)}>{text(value)}</p>\n"


def items(values: Iterable[str]) -> str:
    """A list."""
    points = (f"<li>{text(value)}</li>\n" for value in values)
    return f"<ul>\n{''.join(points)}</ul>\n"


def section(name: str, title: str, *content: str) -> str:
    """A part with a heading, to which ``#name`` leads; the content is markup."""
    head = f'<h2 id="{text(name)}-title">{text(title)}</h2>'
    return f'<section id="{text(name)}" aria-labelledby="{text(name)}-title">\n{head}\n{"".join(content)}</section>\n'


def table(
    caption: str, columns: Sequence[str], rows: Iterable[Sequence[Any]], marked: Collection[int] = (), none: str = "none recorded"
) -> str:
    """A table with a caption, a row of headings, and a heading in each row; numbers stand to the right.

    :param marked: numbers of rows that are told apart. :param none: what is said in its place when there is no row.
    """
    held = [*rows]
    if not held:
        return f'<p class="none">{text(caption)}: {text(none)}.</p>\n'
    right = [all(isinstance(row[at], int | float | None) for row in held) for at in range(len(columns))]
    head = "".join(f'<th scope="col"{_kind("n" * right[at])}>{text(name)}</th>' for at, name in enumerate(columns))
    body = "".join(_row(row, right, number in marked) for number, row in enumerate(held))
    return f"<table>\n<caption>{text(caption)}</caption>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}</tbody>\n</table>\n"


def _row(row: Sequence[Any], right: Sequence[bool], marked: bool) -> str:
    first = f'<th scope="row"{_kind("n" * right[0])}>{text(row[0])}</th>'
    rest = "".join(f"<td{_kind('n' * is_number)}>{text(value)}</td>" for value, is_number in zip(row[1:], right[1:], strict=True))
    return f"<tr{_kind('bad' * marked)}>{first}{rest}</tr>\n"


def _kind(name: str) -> str:
    return f' class="{text(name)}"' if name else ""

"""The record of processing activities that Art. 30 (1) GDPR asks a controller for, from what the settings say.

Each heading names the letter that it answers. What nobody has stated is told as such: a record that looks whole and is not would be
worse than one with gaps. Pure: texts in, a page out, as Markdown or as one HTML file that loads nothing.
"""

import datetime as dt
import html
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from core.policy import StreamPolicy
from core.schema import COLUMNS

__all__ = ["Record", "as_html", "as_markdown", "build"]

_HEADINGS = (
    ("controller", "Controller (a)"),
    ("contact", "Contact for data subjects"),
    ("officer", "Data protection officer (a)"),
    ("purposes", "Purposes (b)"),
    ("legal_basis", "Legal basis"),
    ("persons", "Categories of data subjects (c)"),
    ("categories", "Categories of personal data (c)"),
    ("recipients", "Recipients (d)"),
    ("transfers", "Transfers to third countries (e)"),
    ("retention", "Time limits for erasure (f)"),
    ("security", "Technical and organisational measures (g)"),
    ("rights", "Rights of data subjects"),
    ("columns", "Columns that may hold personal data"),
)
_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:46rem;margin:2rem auto;padding:0 1rem;color:#222}"
    "h1{font-size:1.6rem}h2{font-size:1.1rem;margin-top:1.6rem;border-bottom:1px solid #ccc}"
    ".gap{color:#a00;font-weight:600}@media print{body{margin:0;max-width:none}}"
)
_SPECIAL = "\\`*_{}[]<>#|~!"


@dataclass(frozen=True)
class Record:
    """The record: its day, the texts under each heading in order, and the keys that nobody has stated."""

    day: dt.date
    parts: Mapping[str, Sequence[str]]
    unset: Sequence[str]


def build(texts: Mapping[str, Sequence[str]], unset: Sequence[str], policies: Collection[StreamPolicy], day: dt.date) -> Record:
    """Put together what the settings say.

    :param texts: by the key of ``[privacy]``, each with one text at least.
    :param unset: keys of them that nobody has stated.
    """
    own = {"retention": [_retention(policy) for policy in policies], "columns": [_columns()]}
    return Record(day, {key: list((own | dict(texts))[key]) for key, _ in _HEADINGS}, list(unset))


def as_markdown(record: Record) -> str:
    """The record as a Markdown page; what has a meaning in Markdown is escaped."""
    lines = ["# Record of processing activities", "", f"Request logs. Art. 30 (1) GDPR. State of {record.day}.", ""]
    if record.unset:
        lines += [f"**Not stated: {', '.join(map(_plain, record.unset))}.**", ""]
    for key, heading in _HEADINGS:
        lines += [f"## {heading}", "", *(f"- {_plain(text)}" for text in record.parts[key]), ""]
    return "\n".join(lines)


def as_html(record: Record) -> str:
    """The record as one HTML page that loads nothing, to be read or printed."""
    gaps = f'<p class="gap">Not stated: {html.escape(", ".join(record.unset))}.</p>' if record.unset else ""
    parts = "".join(
        f"<h2>{html.escape(heading)}</h2><ul{_gap(record, key)}>" + "".join(f"<li>{html.escape(text)}</li>" for text in record.parts[key])
        + "</ul>"
        for key, heading in _HEADINGS
    )  # fmt: skip
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Record of processing activities</title>'
        f"<style>{_STYLE}</style></head><body><h1>Record of processing activities</h1>"
        f"<p>Request logs. Art. 30 (1) GDPR. State of {record.day}.</p>{gaps}{parts}</body></html>\n"
    )


def _gap(record: Record, key: str) -> str:
    return ' class="gap"' if key in record.unset else ""


def _retention(policy: StreamPolicy) -> str:
    return (
        f"stream {policy.name}: at hand for {policy.hot}, then archived, destroyed after {policy.keep}; "
        f"lines that could not be read are destroyed after {policy.quarantine}"
    )


def _columns() -> str:
    return ", ".join(column.name for column in COLUMNS if column.personal)


def _plain(text: str) -> str:
    return "".join(f"\\{character}" if character in _SPECIAL else character for character in text.replace("\n", " "))

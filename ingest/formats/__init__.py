"""Formats: lines in, columns and reasons out. ``get`` one by name, ``parse`` with it; ``detect`` which one lines are of."""

from ingest.formats.base import Format, FormatOptions, Parsed, State, is_stateful
from ingest.formats.detection import Choice, Score, UndetectedError, detect
from ingest.formats.following import choose
from ingest.formats.registry import get, names, parse, register

__all__ = [
    "Choice",
    "Format",
    "FormatOptions",
    "Parsed",
    "Score",
    "State",
    "UndetectedError",
    "choose",
    "detect",
    "get",
    "is_stateful",
    "names",
    "parse",
    "register",
]

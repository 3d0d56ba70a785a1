"""Formats: lines in, columns and reasons out. ``get`` one by name, ``parse`` with it."""

from ingest.formats.base import Format, FormatOptions, Parsed
from ingest.formats.registry import detect, get, names, parse, register

__all__ = ["Format", "FormatOptions", "Parsed", "detect", "get", "names", "parse", "register"]

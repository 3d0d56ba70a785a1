"""Formats: lines in, columns and reasons out. ``get`` one by name, ``parse`` with it."""

from ingest.formats.base import Format, Parsed
from ingest.formats.registry import detect, get, names, parse, register

__all__ = ["Format", "Parsed", "detect", "get", "names", "parse", "register"]

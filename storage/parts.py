"""The files of a hot day: mostly one, ``<day>.duckdb``; more when a reader held it while rows arrived.

DuckDB's readers and writers exclude each other, each file at a time. So that no reader makes a writer wait, rows that arrive while
every file of their day is being read go into a new one, ``<day>.2.duckdb`` and on; the files are put together later. Which of them
make the day is in ``<day>.parts``, a JSON list of names that is replaced whole: a reader sees the files before a change or those
after it. Without that list it is the first file, if it is there.
"""

import datetime as dt
import json
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from core.segment import Segment
from core.steps import step

__all__ = ["all_files", "day_of", "declare", "first", "is_part", "orphans", "parts", "state", "sync_folder", "unused"]

_NAME = re.compile(r"(\d{4}-\d{2}-\d{2})(?:\.([1-9]\d*))?\.(?:duckdb|parts)")
_PART = re.compile(r"\d{4}-\d{2}-\d{2}(?:\.[1-9]\d*)?\.duckdb\Z")


def first(root: Path, segment: Segment) -> Path:
    """Where the segment's first file is or would be."""
    return root / segment.stream / f"{segment.day.isoformat()}.duckdb"


def parts(root: Path, segment: Segment) -> tuple[Path, ...]:
    """The files that make the day, the first one first; none when there is none."""
    path = first(root, segment)
    try:
        names = json.loads(_list_of(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return (path,) if path.exists() else ()
    except (OSError, ValueError):
        names = []
    if not isinstance(names, list) or not names or not all(isinstance(name, str) and is_part(name) for name in names):
        return (_list_of(path),)  # what reads it says that it is damaged
    found = tuple(path.with_name(name) for name in names)
    return found if any(each.exists() for each in found) else ()


def declare(root: Path, segment: Segment, files: Sequence[Path]) -> None:
    """From now on the day is made of these files: durable when this returns."""
    path = _list_of(first(root, segment))
    draft = path.with_name(path.name + ".new")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as stream:
        json.dump([file.name for file in files], stream)
        stream.flush()
        os.fsync(stream.fileno())
    step("hot.declare_parts")
    draft.rename(path)
    sync_folder(path.parent)


def unused(root: Path, segment: Segment) -> Path:
    """The name of a file that the day does not have."""
    numbers = [int(match[2] or 1) for path in all_files(root, segment) if (match := _NAME.match(path.name))]
    return first(root, segment).with_name(f"{segment.day.isoformat()}.{max(numbers, default=1) + 1}.duckdb")


def all_files(root: Path, segment: Segment) -> Iterator[Path]:
    """Every file of the day, drafts, logs and the list among them; the list comes last."""
    found = sorted((root / segment.stream).glob(f"{segment.day.isoformat()}.*"), key=lambda path: (".parts" in path.name, path.name))
    yield from (path for path in found if _NAME.match(path.name))


def orphans(root: Path) -> Iterator[Path]:
    """Files that no list names, beside a list: begun or given up when a crash came."""
    for path in root.glob("*/*.parts"):
        segment = Segment(path.parent.name, day_of(path.name))
        made_of = parts(root, segment)
        if made_of != (path,):  # a damaged list tells nothing of what is left over
            listed = {name for part in made_of for name in (part.name, part.name + ".wal", path.name)}
            yield from (file for file in all_files(root, segment) if file.name not in listed)


def day_of(name: str) -> dt.date:
    """The day that a file of that name is of; 0001-01-01 when it is of none."""
    match = _NAME.match(name)
    try:
        return dt.date.fromisoformat(match[1]) if match else dt.date.min
    except ValueError:
        return dt.date.min


def state(path: Path) -> tuple[int, ...]:
    """What is another after a file, or its write-ahead log, was written to or replaced."""
    found = [each.stat() for each in (path, path.with_name(path.name + ".wal")) if each.exists()]
    return tuple(value for stat in found for value in (stat.st_ino, stat.st_size, stat.st_mtime_ns))


def is_part(name: str) -> bool:
    """Whether a file of that name holds rows."""
    return _PART.match(name) is not None


def sync_folder(folder: Path) -> None:
    """Make names in the folder durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _list_of(path: Path) -> Path:
    return path.with_suffix(".parts")

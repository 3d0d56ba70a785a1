"""The files of a report, put into their folder so that a report is there whole or not at all.

They are written as drafts, which nobody takes for a report. Then the old page goes, the new pack takes its name, and the new page comes
last: where there is a page, the pack beside it is of the same report. Nothing that is not a report's is written over.
"""

import os
from collections.abc import Mapping
from pathlib import Path

from compliance.report_html import GENERATOR
from compliance.verifier import PACK
from core.errors import UsageError
from core.steps import step

__all__ = ["PACK_NAME", "PAGE_NAME", "place", "refuse_others"]

PAGE_NAME, PACK_NAME = "report.html", "evidence.zip"
_HEAD, _TAIL = 4096, 211


def refuse_others(folder: Path) -> None:
    """Look whether a report may be put there.

    :raises UsageError: the folder is none, or one of the names is taken by something that is no report's.
    """
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is no folder", "choose another place with -o")
    for name in (PAGE_NAME, PACK_NAME):
        path = folder / name
        if path.is_symlink() or (path.exists() and not (path.is_file() and _is_ours(path))):
            raise UsageError(f"{path} is there, and is not of a report", "choose another place with -o")


def place(folder: Path, files: Mapping[str, bytes]) -> None:
    """Put the files there, for their owner alone; the folder is made when there is none, likewise.

    :param files: the page, and the pack when there is one.
    :raises UsageError: the place cannot be written, or is taken.
    """
    refuse_others(folder)
    made = not folder.exists()
    drafts = {name: folder / f".{name}.draft" for name in files}
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name, content in files.items():
            step("report.write")
            _write(drafts[name], content)
        _show(folder, drafts)
    except OSError as error:
        _take_back(folder, [*drafts.values()], made)
        raise UsageError(f"{folder} cannot be written: {error.strerror}", "choose another place with -o") from None


def _show(folder: Path, drafts: Mapping[str, Path]) -> None:
    step("report.show")
    (folder / PAGE_NAME).unlink(missing_ok=True)
    if PACK_NAME in drafts:
        drafts[PACK_NAME].replace(folder / PACK_NAME)
    else:
        (folder / PACK_NAME).unlink(missing_ok=True)
    step("report.page")
    drafts[PAGE_NAME].replace(folder / PAGE_NAME)
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write(draft: Path, content: bytes) -> None:
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _take_back(folder: Path, drafts: list[Path], made: bool) -> None:
    try:
        for draft in drafts:
            draft.unlink(missing_ok=True)
        if made:
            folder.rmdir()
    except OSError:
        return  # the first error is the one to tell


def _is_ours(path: Path) -> bool:
    with path.open("rb") as file:
        if path.name == PAGE_NAME:
            return GENERATOR.encode() in file.read(_HEAD)
        file.seek(-min(_TAIL, path.stat().st_size), os.SEEK_END)
        return file.read(_TAIL).startswith(PACK.encode())

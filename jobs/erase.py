"""Erase: take a data subject out of every tier, and prove that nothing of it is left.

Under the directory's lock, for one request: tombstones bar the subject's rows from coming in again -> bodies that wait are stored ->
each hot day with rows of the subject is copied without them under a new key, which in one transaction takes the place of the old
one and of the ledger's count -> the archive's files with rows of the subject are written anew without them, committed in one
snapshot, and shown to readers in one transaction with the counts -> old files go, every version -> texts of queries that name the
subject go, their days get new keys -> everything that is left is looked through -> ledger SubjectErased, whose number is the
certificate's, and the selectors of every request of the subject are destroyed.

A crash at any step leaves a request that is ``running``; the same command, and every purge, goes on with it. What was done is not
done again: the counts are added up from the ledger. A day that a hold covers keeps its rows; the request is then ``pending``, and the
purge after the hold's end goes on with it.
"""

import datetime as dt
import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import sqlalchemy as sa

from core.clock import parse_instant, to_iso
from core.errors import AuditlakeError
from core.events import Kind
from core.segment import Segment
from core.subject import Subject
from jobs.context import Context
from jobs.erased import finish_swaps, show_erased
from jobs.recovery import recover
from jobs.roll import take_back_unseen, tidy, write_and_read_back
from jobs.subjects import Found, find, held_days, hot_rows, lines_of, look
from storage import needles, query_texts, swaps, tombstones
from storage.archive import ERASED, ArchivedFile
from storage.digest import EMPTY, Digest
from storage.needles import Looked
from storage.requests import DONE, PENDING, RUNNING, Request

__all__ = ["RIGHT", "Erasure", "erase", "resume"]

RIGHT = "erase"
_SEGMENTS_AT_ONCE = 60
_KEY_BYTES = 32
_A_DAY = dt.timedelta(days=1)
_IDS = pa.schema([pa.field("ingest_batch", pa.string()), pa.field("ingest_row", pa.int64())])


@dataclass(frozen=True)
class Erasure:
    """How far an erasure has come.

    :param rows: that are erased, by tier. :param files: that were written anew; :param bytes: in so many.
    :param rescan: what was seen when all that is left was looked through.
    :param conflicts: days that a hold keeps. :param problems: what stood in the way.
    :param certificate: number of the ledger's event that says it is over.
    """

    request: Request
    state: str
    rows: dict[str, int]
    files: int
    bytes: int
    rescan: Looked
    conflicts: list[dict[str, Any]]
    problems: tuple[str, ...] = ()
    certificate: int | None = None


def erase(ctx: Context, request: Request, subject: Subject, store_waiting: Callable[[], Iterable[str]] = tuple) -> Erasure:
    """Carry the request out, or go on with it.

    :param store_waiting: stores the bodies that wait; says which it could not.
    :raises AuditlakeError: a store is out of reach; what was done stays done.
    """
    recover(ctx)
    began = _begin(ctx, request, subject)
    held_till_then = subject.until(began + _A_DAY)  # nothing of later was taken in by then
    problems = [*store_waiting()]
    for stream in ctx.archive.streams():
        take_back_unseen(ctx, stream, keep=[])
    found = find(ctx, held_till_then)
    _erase_hot(ctx, request, held_till_then, found)
    _erase_archive(ctx, request, held_till_then, found)
    problems += [f"{failure.object.key}: {failure.reason}" for stream in ctx.archive.streams() for failure in tidy(ctx, stream)]
    _erase_texts(ctx, request, found.texts)
    if not ctx.control.forget_deleted():
        problems.append("keys of what was erased (in the control database's files, which a reader holds open)")
    held = held_days(ctx)
    seen = look(ctx, held_till_then, to_iso(began), held)
    return _conclude(ctx, request, subject, seen, found.conflicts(held), problems)


def resume(ctx: Context) -> list[Erasure]:
    """Go on with every erasure that has begun and is not over."""
    found = []
    for request in ctx.requests.every():
        if request.right == RIGHT and request.state in (RUNNING, PENDING):
            subject = ctx.requests.subject(request)
            if subject is not None:
                ctx.progress(f"erasing for request {request.id}", 0, 0)
                found.append(erase(ctx, request, subject))
    return found


def _begin(ctx: Context, request: Request, subject: Subject) -> dt.datetime:
    """When the erasure began: what is of before that is barred from now on."""
    began = request.result.get("began") or to_iso(ctx.clock.now())
    with ctx.control.write() as connection:
        ctx.requests.set(connection, request, RUNNING, {**request.result, "began": began})
        tombstones.bury(connection, ctx.keys, request.id, subject, began)
    return parse_instant(began)


def _may_erase(ctx: Context, connection: sa.Connection, segment: Segment) -> bool:
    """Whether no hold covers the day, and nothing destroys it already."""
    return not ctx.is_held(connection, segment) and ctx.ledger.state(connection, segment).open_action != "purge"


def _erase_hot(ctx: Context, request: Request, subject: Subject, found: Found) -> None:
    for number, segment in enumerate(days := sorted({*found.hot, *found.quarantined})):
        ctx.progress(f"erasing in {segment}", number, len(days))
        with ctx.control.write() as connection:
            allowed = _may_erase(ctx, connection, segment)
            if allowed:
                ctx.ledger.append(connection, Kind.ERASURE_STARTED, **_named(segment), request=request.id)
        if allowed:
            rows = lines_of(ctx, segment, subject) if segment.is_quarantine else hot_rows(ctx, segment, subject)
            _erase_day(ctx, request, segment, pa.Table.from_batches([batch.select(_IDS.names).cast(_IDS) for batch in rows], _IDS))


def _erase_day(ctx: Context, request: Request, segment: Segment, gone: pa.Table) -> None:
    """Put a copy without these rows, under another key, in the place of a hot day's files; nothing when no row is left."""
    old, new = ctx.key(segment), secrets.token_hex(_KEY_BYTES)
    files, rows = len(ctx.hot.parts(segment)), ctx.ledger.states()[segment].hot
    left, name, size = rows - gone.num_rows, "", 0
    if left:
        path, kept = ctx.hot.copy_without(segment, old, new, gone)
        if kept != left:
            raise AuditlakeError(f"the copy of {segment} has {kept} rows, and {left} of {rows} should be left", "run: auditlake verify")
        name, size = path.name, path.stat().st_size
    with ctx.control.write() as connection:
        if ctx.is_held(connection, segment):
            return
        if left:
            ctx.keys.replace(connection, segment, new)
        else:
            ctx.keys.destroy(connection, segment)
        swaps.put(connection, segment, name)
        tier = "quarantined" if segment.is_quarantine else "hot"
        figures = {"rows": gone.num_rows, "left": left, "files": files, "bytes": size}
        ctx.ledger.append(connection, Kind.ROWS_ERASED, **_named(segment), request=request.id, tier=tier, **figures)
    finish_swaps(ctx)


def _erase_archive(ctx: Context, request: Request, subject: Subject, found: Found) -> None:
    segments = sorted(found.archived)
    for stream in sorted({segment.stream for segment in segments}):
        days = [segment for segment in segments if segment.stream == stream]
        for start in range(0, len(days), _SEGMENTS_AT_ONCE):
            _erase_days(ctx, request, subject, found, stream, days[start : start + _SEGMENTS_AT_ONCE])


def _erase_days(ctx: Context, request: Request, subject: Subject, found: Found, stream: str, days: list[Segment]) -> None:
    """Write the files of some days anew, and put all of them in the place of the old ones at once."""
    with ctx.control.write() as connection:
        allowed = [segment for segment in days if _may_erase(ctx, connection, segment)]
        names = {s: ctx.ledger.append(connection, Kind.ERASURE_STARTED, **_named(s), request=request.id).seq for s in allowed}
    old = [file for file in sorted(found.files) if file.segment in names]
    removed: dict[Segment, Digest] = {}
    paths: dict[Segment, list[str]] = {}
    for number, file in enumerate(old):
        ctx.progress(f"erasing in the archive of {file.segment}", number, len(old))
        written, digest = _write(ctx, subject, file, f"{ERASED}{names[file.segment]}x{number}", found.files[file])
        paths.setdefault(file.segment, []).extend(written)
        removed[file.segment] = removed.get(file.segment, EMPTY) + digest
    with ctx.control.read() as connection:  # a hold may have been added meanwhile
        old = [file for file in old if not ctx.is_held(connection, file.segment)]
    if old:
        new = [path for segment in sorted({file.segment for file in old}) for path in paths[segment]]
        ctx.archive.replace(old[0].segment, f"{ERASED}{names[old[0].segment]}", new, old)
        show_erased(ctx, stream, removed)


def _write(ctx: Context, subject: Subject, file: ArchivedFile, name: str, rows: int) -> tuple[list[str], Digest]:
    """Write a file's rows without the subject's, and read them back; the new files, and the digest of what is not in them."""
    parted = needles.Parted(ctx.archive, file.path, subject)
    paths, back = write_and_read_back(ctx, file.segment, name, parted.rows(), file.rows - rows)
    if back != parted.kept or parted.removed.rows != rows or back.rows + rows != file.rows:
        raise AuditlakeError(
            f"the files written for {file.path} hold {back.rows} rows, and {file.rows - rows} of {file.rows} should be left",
            "the day stays as it is; run: auditlake verify --full",
        )
    return paths, parted.removed


def _erase_texts(ctx: Context, request: Request, numbers: tuple[int, ...]) -> None:
    if numbers:
        with ctx.control.write() as connection:
            texts = query_texts.erase(connection, ctx.keys, numbers)
            ctx.ledger.append(connection, Kind.TEXTS_ERASED, request=request.id, texts=texts)


def _conclude(
    ctx: Context, request: Request, subject: Subject, seen: Looked, conflicts: list[dict[str, Any]], problems: list[str]
) -> Erasure:
    rows, files, size = _totals(ctx, request)
    if seen.found:
        problems.append(f"{seen.found} rows or texts of the subject are still there")
    state = RUNNING if problems else PENDING if conflicts else DONE
    began = ctx.requests.get(request.id)
    result: dict[str, Any] = {
        "began": began.result["began"] if began else None,
        "rows": rows,
        "rewritten": {"files": files, "bytes": size},
        "rescan": {"bytes": seen.bytes, "found": seen.found, "mentions": seen.mentions},
        "conflicts": conflicts,
    }
    if state != DONE:
        with ctx.control.write() as connection:
            ctx.requests.set(connection, request, state, result)
        return Erasure(request, state, rows, files, size, seen, conflicts, tuple(problems))
    certificate = _certify(ctx, request, subject, result)
    return Erasure(request, state, rows, files, size, seen, conflicts, (), certificate)


def _certify(ctx: Context, request: Request, subject: Subject, result: dict[str, Any]) -> int:
    """Say in the ledger that it is over, and forget whom it was about."""
    about = [*ctx.requests.of(subject)]
    told = {"request": request.id, "subject": request.subject, "rows": result["rows"], **result["rewritten"]}
    with ctx.control.write() as connection:
        rescan = {name: result["rescan"][name] for name in ("bytes", "found")}
        event = ctx.ledger.append(connection, Kind.SUBJECT_ERASED, **told, rescan=rescan)
        ctx.requests.done(connection, request, {**result, "certificate": event.seq}, certificate=event.seq)
        for each in {each.id: each for each in [*about, request]}.values():
            ctx.requests.forget_subject(connection, each)
    ctx.control.forget_deleted()
    return event.seq


def _totals(ctx: Context, request: Request) -> tuple[dict[str, int], int, int]:
    """What the ledger counts for the request: rows by tier, files that were replaced, bytes of those in their place."""
    rows, files, size = {"hot": 0, "archived": 0, "quarantined": 0, "other": 0}, 0, 0
    for event in ctx.ledger.events(Kind.ROWS_ERASED, Kind.TEXTS_ERASED):
        if event.body["request"] == request.id:
            rows[event.body.get("tier", "other")] += event.body.get("rows", event.body.get("texts"))
            files += event.body.get("files", 0)
            size += event.body.get("bytes", 0)
    return rows, files, size


def _named(segment: Segment) -> dict[str, str]:
    return {"stream": segment.stream, "day": segment.day.isoformat()}

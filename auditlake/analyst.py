"""An analyst's question: build the view that readers see at this moment, pass the statement through the gate, write the answer."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlparse

from auditlake.lake import Lake
from auditlake.settings import size_bytes
from core.errors import AuditlakeError, UsageError
from core.events import Kind
from core.roles import Role
from core.segment import Segment
from jobs.context import Context
from query import lake as view
from query.books import books
from query.errors import ViewMovedError
from query.gate import Statement, examine
from query.limits import capped_memory
from query.masks import Masks
from query.output import write
from query.run import Result, run
from storage import intake, pointers, swaps
from storage.objects import S3Access, given
from storage.people import OWNER_USER
from storage.query_log import Asked

__all__ = ["PROCESS_BYTES", "answer", "begin", "build_view", "masked_for"]

_TRIES = 5
PROCESS_BYTES = 512 * 2**20
"""What the process needs beside the query: libraries, extensions, the first pages of every hot file."""


def answer(lake: Lake, sql: str, form: str, output: Path | None, stream: str = "requests") -> None:
    """Run one statement and write its rows to standard output or a file.

    A day that is rolled away between looking it up and opening it makes the view old; it is then built anew.

    :raises UsageError: the stream is not configured, or the statement is refused.
    :raises AuditlakeError: the statement fails.
    """
    if stream not in lake.settings.streams:
        raise UsageError(f"stream {stream!r} is not configured", f"choose one of {', '.join(lake.settings.streams)}")
    cap = 2 * size_bytes(lake.settings.query.memory) + PROCESS_BYTES
    with lake.context.query_log.watch(Asked(OWNER_USER, sql)) as seen, capped_memory(cap):
        statement = examine(sql)
        seen.admitted = True
        with begin(lake, statement, stream) as result:
            seen.count = lambda: result.rows
            write(result, form, output, table_rows=lake.settings.query.table_rows)


def masked_for(lake: Lake, seen: view.LakeView, role: Role) -> view.LakeView:
    """The view as a role may see it: personal columns masked when the role's are, memory and threads within its limits."""
    masks = Masks(lake.context.keys.derive(Masks.PURPOSE)) if role.masked else None
    limits = lake.settings.roles.limits(role)
    if limits is None:
        return replace(seen, masks=masks)
    return replace(seen, masks=masks, memory_limit=limits.memory, threads=limits.threads)


def begin(
    lake: Lake,
    statement: Statement,
    stream: str = "requests",
    seconds: float | None = None,
    seen_as: Callable[[view.LakeView], view.LakeView] = lambda seen: seen,
) -> Result:
    """Run a statement over what readers of the stream see now.

    :param seconds: how long it may run.
    :param seen_as: what is made of the view first.
    :raises UsageError: the stream is not configured, or DuckDB refuses the statement.
    :raises AuditlakeError: it fails.
    """
    if stream not in lake.settings.streams:
        raise UsageError(f"stream {stream!r} is not configured", f"choose one of {', '.join(lake.settings.streams)}")
    if statement.columns is None:
        return run(seen_as(_bare_view(lake)), statement, seconds)
    for _ in range(_TRIES):
        try:
            return run(seen_as(build_view(lake, stream)), statement, seconds)
        except ViewMovedError as error:
            moved = error
    raise AuditlakeError(f"the data moved {_TRIES} times while the query began: {moved.problem}", "ask again")


def build_view(lake: Lake, stream: str = "requests") -> view.LakeView:
    """What readers of the stream see now: one consistent look at the control database."""
    ctx = lake.context
    with ctx.control.read() as connection:
        states, looked_up = ctx.ledger.states(connection), ctx.ledger.last(connection)
        keys = {segment: ctx.keys.get(connection, segment) for segment in ctx.keys.segments(connection)}
        swapped = swaps.every(connection)
        restricted = ctx.requests.restricted(connection)
        archive = pointers.every(connection).get(stream)
    hot = tuple(
        view.HotFile(path, key, segment.day, part)
        for segment, key in sorted(keys.items())
        if key and segment.stream == stream and segment in states and states[segment].hot
        for part, path in enumerate(_files(ctx, segment, swapped.get(segment, "")), start=1)
    )
    with ctx.control.read() as connection:
        if ctx.ledger.newest(connection, Kind.ROWS_ERASED) > looked_up:
            raise ViewMovedError("rows were erased", "ask again")
    s3 = _s3(given(lake.s3)) if lake.s3 and archive else None
    seen = replace(_bare_view(lake), hot=hot, archive=archive, s3=s3, restricted=restricted)
    return replace(seen, unfinished=lambda: _later(ctx, looked_up))


def _files(ctx: Context, segment: Segment, swapped: str) -> tuple[Path, ...]:
    """The files that the day's key opens.

    :param swapped: name of the one that is about to take the place of the others, if any is.
    """
    if swapped:
        return (ctx.hot.file(segment, swapped),)
    return ctx.hot.parts(segment) or (ctx.hot.path(segment),)


def _later(ctx: Context, looked_up: int) -> frozenset[str]:
    """Batches that were not whole when the ledger had so many events."""
    with ctx.control.read() as connection:
        begun = {batch.batch for batch in intake.open_batches(connection) if not batch.recorded}
    return frozenset(begun | {event.body["batch"] for event in ctx.ledger.events(Kind.BATCH_INGESTED, after=looked_up)})


def _bare_view(lake: Lake) -> view.LakeView:
    """A view of nothing."""
    return view.LakeView(
        now=lake.context.clock.now(),
        temp_dir=lake.context.data_dir / "tmp",
        memory_limit=lake.settings.query.memory,
        temp_limit=lake.settings.resources.spill,
        threads=lake.settings.resources.threads,
        tables=books(lake.context.ledger, lake.context.query_log),
    )


def _s3(access: S3Access) -> view.S3Access:
    endpoint = urlparse(access.endpoint)
    return view.S3Access(
        access.access_key,
        access.secret_key,
        access.session_token,
        endpoint=endpoint.netloc,
        region=access.region,
        path_style=access.path_style,
        use_ssl=endpoint.scheme != "http",
    )

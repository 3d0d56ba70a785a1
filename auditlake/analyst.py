"""An analyst's question: build the view that readers see at this moment, pass the statement through the gate, write the answer."""

from dataclasses import replace
from pathlib import Path
from urllib.parse import urlparse

from auditlake.lake import Lake
from auditlake.settings import size_bytes
from core.errors import AuditlakeError, UsageError
from core.events import Kind
from jobs.context import Context
from query import lake as view
from query.errors import ViewMovedError
from query.gate import examine
from query.limits import capped_memory
from query.output import write
from query.run import Result, run
from storage import intake, pointers
from storage.objects import S3Access, given

__all__ = ["answer", "build_view"]

_TRIES = 5
_PROCESS_BYTES = 512 * 2**20
"""What the process needs beside the query: libraries, extensions, the first pages of every hot file."""


def answer(lake: Lake, sql: str, form: str, output: Path | None, stream: str = "requests") -> None:
    """Run one statement and write its rows to standard output or a file.

    A day that is rolled away between looking it up and opening it makes the view old; it is then built anew.

    :raises UsageError: the stream is not configured, or the statement is refused.
    :raises AuditlakeError: the statement fails.
    """
    if stream not in lake.settings.streams:
        raise UsageError(f"stream {stream!r} is not configured", f"choose one of {', '.join(lake.settings.streams)}")
    with capped_memory(2 * size_bytes(lake.settings.query.memory) + _PROCESS_BYTES), _begin(lake, sql, stream) as result:
        write(result, form, output, table_rows=lake.settings.query.table_rows)


def _begin(lake: Lake, sql: str, stream: str) -> Result:
    statement = examine(sql)
    if statement.columns is None:
        return run(_bare_view(lake), statement)
    for _ in range(_TRIES):
        try:
            return run(build_view(lake, stream), statement)
        except ViewMovedError as error:
            moved = error
    raise AuditlakeError(f"the data moved {_TRIES} times while the query began: {moved.problem}", "ask again")


def build_view(lake: Lake, stream: str = "requests") -> view.LakeView:
    """What readers of the stream see now: one consistent look at the control database."""
    ctx = lake.context
    with ctx.control.read() as connection:
        states, looked_up = ctx.ledger.states(connection), ctx.ledger.last(connection)
        keys = {segment: ctx.keys.get(connection, segment) for segment in ctx.keys.segments(connection)}
        archive = pointers.every(connection).get(stream)
    hot = tuple(
        view.HotFile(path, key, segment.day, part)
        for segment, key in sorted(keys.items())
        if key and segment.stream == stream and segment in states and states[segment].hot
        for part, path in enumerate(ctx.hot.parts(segment) or (ctx.hot.path(segment),), start=1)
    )
    s3 = _s3(given(lake.s3)) if lake.s3 and archive else None
    return replace(_bare_view(lake), hot=hot, archive=archive, s3=s3, unfinished=lambda: _later(ctx, looked_up))


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

"""An analyst's question: build the view that readers see at this moment, pass the statement through the gate, write the answer."""

from pathlib import Path
from urllib.parse import urlparse

from auditlake.lake import Lake
from core.errors import AuditlakeError
from query import lake as view
from query.errors import ViewMovedError
from query.output import write
from query.run import run
from storage import intake, pointers
from storage.objects import S3Access

__all__ = ["answer", "build_view"]

_TRIES = 5


def answer(lake: Lake, sql: str, form: str, output: Path | None, stream: str = "requests") -> None:
    """Run one statement and write its rows to standard output or a file.

    A day that is rolled away between looking it up and opening it makes the view old; it is then built anew.

    :raises AuditlakeError: the statement is refused or fails.
    """
    for _ in range(_TRIES):
        try:
            result = run(build_view(lake, stream), sql)
            break
        except ViewMovedError as error:
            moved = error
    else:
        raise AuditlakeError(f"the data moved {_TRIES} times while the query began: {moved.problem}", "ask again")
    with result:
        write(result, form, output, table_rows=lake.settings.query.table_rows)


def build_view(lake: Lake, stream: str = "requests") -> view.LakeView:
    """What readers of the stream see now: one consistent look at the control database."""
    ctx = lake.context
    states = ctx.ledger.states()
    with ctx.control.read() as connection:
        keys = {segment: ctx.keys.get(connection, segment) for segment in ctx.keys.segments(connection)}
        archive = pointers.every(connection).get(stream)
        unfinished = frozenset(batch.batch for batch in intake.open_batches(connection) if not batch.recorded)
    hot = tuple(
        view.HotFile(ctx.hot.path(segment), key, segment.day)
        for segment, key in sorted(keys.items())
        if key and segment.stream == stream and segment in states and states[segment].hot
    )
    return view.LakeView(
        now=ctx.clock.now(),
        temp_dir=ctx.data_dir / "tmp",
        hot=hot,
        archive=archive,
        s3=_s3(lake.s3) if lake.s3 else None,
        memory_limit=lake.settings.query.memory,
        temp_limit=lake.settings.resources.spill,
        threads=lake.settings.resources.threads,
        unfinished=unfinished,
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

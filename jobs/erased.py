"""An erasure made visible: readers see files in the place of those that had a subject's rows, and the ledger counts what went.

A table that an erasure has changed, and that readers do not see yet, is as good as the one they see but for the subject's rows;
whichever job comes next lets them see it (``roll.take_back_unseen``). Everything that the ledger is told can be found out again from
the two states of the table, without knowing whom it was about.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from core.events import Kind
from core.segment import Segment
from jobs.context import Context
from storage import pointers, swaps
from storage.archive import ArchivedFile
from storage.digest import METHOD, Digest

__all__ = ["finish_swaps", "is_erased", "show_erased"]


@dataclass
class _Change:
    """Files of one day: those that readers see and the table has no more, and those the other way round."""

    old: list[ArchivedFile] = field(default_factory=list)
    new: list[ArchivedFile] = field(default_factory=list)


def is_erased(ctx: Context, stream: str) -> bool:
    """Whether an erasure has changed the stream's table, and readers do not see it yet."""
    if not any(state.open_action == "erase" and segment.stream == stream for segment, state in ctx.ledger.states().items()):
        return False
    return bool(_erasures(ctx, stream))


def show_erased(ctx: Context, stream: str, removed: Mapping[Segment, Digest] | None = None) -> None:
    """Let readers see the table without the rows.

    :param removed: what was removed of each day; read again from the files when it is not said.
    """
    states, requests = ctx.ledger.states(), _requests(ctx)
    changes = _erasures(ctx, stream)
    gone = {segment: removed[segment] if removed else _removed(ctx, change) for segment, change in changes.items()}
    newest = ctx.archive.metadata(stream)
    with ctx.control.write() as connection:
        pointers.put(connection, stream, newest)
        for segment, change in sorted(changes.items()):
            digest = gone[segment]
            ctx.ledger.append(
                connection,
                Kind.ROWS_ERASED,
                stream=stream,
                day=segment.day.isoformat(),
                request=requests[segment],
                tier="archived",
                rows=digest.rows,
                left=states[segment].archived - digest.rows,
                digest=digest.sum,
                method=METHOD,
                files=len(change.old),
                bytes=sum(file.bytes for file in change.new),
            )


def finish_swaps(ctx: Context) -> None:
    """Put hot files in the place of those that their day's key opens no more; what is half done is done again."""
    with ctx.control.read() as connection:
        waiting = swaps.every(connection)
    for segment, name in sorted(waiting.items()):
        if name:
            ctx.hot.put_in_place(segment, name)
        else:
            ctx.hot.drop(segment)
        with ctx.control.write() as connection:
            swaps.settle(connection, segment)


def _erasures(ctx: Context, stream: str) -> dict[Segment, _Change]:
    """What has changed of days whose erasure has begun: files that stand in the place of others, or of none."""
    states = ctx.ledger.states()
    return {segment: change for segment, change in _changes(ctx, stream).items() if change.old and states[segment].open_action == "erase"}


def _changes(ctx: Context, stream: str) -> dict[Segment, _Change]:
    visible = pointers.get(ctx.control, stream)
    if visible is None or visible == ctx.archive.metadata(stream):
        return {}
    seen = {file.path: file for file in ctx.archive.files(stream, visible)}
    there = {file.path: file for file in ctx.archive.files(stream)}
    found: dict[Segment, _Change] = {}
    for path in seen.keys() - there.keys():
        found.setdefault(seen[path].segment, _Change()).old.append(seen[path])
    for path in there.keys() - seen.keys():
        found.setdefault(there[path].segment, _Change()).new.append(there[path])
    return found


def _removed(ctx: Context, change: _Change) -> Digest:
    before = ctx.archive.digest(file.path for file in change.old)
    after = ctx.archive.digest(file.path for file in change.new)
    return Digest(before.rows - after.rows, f"{(int(before.sum, 16) - int(after.sum, 16)) % 2**64:016x}")


def _requests(ctx: Context) -> dict[Segment, int]:
    """The request for which each day's last erasure was begun."""
    return {event.segment: event.body["request"] for event in ctx.ledger.events(Kind.ERASURE_STARTED)}

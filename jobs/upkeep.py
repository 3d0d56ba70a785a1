"""Upkeep: what the stores need so that nothing of theirs grows or lingers: old snapshots, orphans, drafts, empty log."""

from jobs.context import Context, Outcome
from jobs.recovery import recover
from jobs.roll import take_back_unseen, tidy

__all__ = ["upkeep"]


def upkeep(ctx: Context, dry_run: bool = False) -> Outcome:
    """Expire snapshots, delete what no table needs, remove drafts, empty the control database's log."""
    streams = ctx.archive.streams()
    if dry_run:
        orphans = sum(len(ctx.archive.unreachable(stream)) for stream in streams)
        return Outcome("upkeep", "planned", (), {"orphans": orphans})
    recover(ctx)
    problems = []
    for stream in streams:
        take_back_unseen(ctx, stream, keep=[])
        problems += [f"{failure.object.key}: {failure.reason}" for failure in tidy(ctx, stream)]
    ctx.control.forget_deleted()
    return Outcome("upkeep", "failed" if problems else "done", (), {"streams": len(streams)}, tuple(problems))

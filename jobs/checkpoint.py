"""Checkpoint: sign what the ledger says up to now, and put the signed text where whoever changes the ledger may not reach it.

One transaction keeps the checkpoint in the control database; then it is copied into the data directory and beside the archive, locked
where the bucket has Object Lock. A crash or an archive out of reach leaves copies to make: the next run makes them. When nothing happened
since the last checkpoint, none is made.
"""

from jobs.context import Context, Outcome

__all__ = ["checkpoint"]


def checkpoint(ctx: Context, dry_run: bool = False) -> Outcome:
    """Sign a checkpoint over every event there is, and copy those that are not everywhere yet.

    :raises AuditlakeError: the key is gone, the ledger was changed, or a copy cannot be made.
    """
    if dry_run:
        return Outcome("checkpoint", "planned")
    found, new = ctx.checkpoints.sign()
    places = ctx.checkpoints.places(ctx.archive.objects, ctx.archive.location)
    copied, locked = ctx.checkpoints.copy(places, ctx.evidence_lock.after(ctx.clock.now()))
    figures = {"events": found.size, "signed": int(new), "copied": copied, "locked": locked}
    return Outcome("checkpoint", "done" if new or copied else "nothing due", (), figures)

"""Lines that are refused for whom they are of: subjects that were erased before the line's time could be, or who object.

``read == stored + quarantined + refused`` still holds: such a line is among the refused, whether it would have become a row or would
have gone to quarantine. Where nobody was ever erased and nobody objects, this costs one look into the control database for each batch.
"""

import datetime as dt
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from core.star import Star
from jobs.batch import FUTURE, Batch
from jobs.context import Context
from storage.tombstones import Tombstones, tombstones

__all__ = ["ERASED", "OBJECTED", "without_barred"]

ERASED, OBJECTED = "erased subject", "objection"
"""Why a line is refused."""


def without_barred(ctx: Context, batch: Batch) -> Batch:
    """The batch without lines of erased subjects, and of subjects that object."""
    with ctx.control.read() as connection:
        found = tombstones(connection)
    if not found:
        return batch
    for reason, stones in ((ERASED, [each for each in found if each.before]), (OBJECTED, [each for each in found if not each.before])):
        if stones:
            batch = _without(batch, Tombstones(ctx.keys, stones), reason)
    return batch


def _without(batch: Batch, stones: Tombstones, reason: str) -> Batch:
    rows = dict(_spared(batch, stones))
    rejected = batch.rejected
    if rejected.num_rows:
        barred = stones.bars_lines(rejected["raw"].combine_chunks())
        if reason == ERASED:  # a line of the future is of after the erasure
            barred &= np.asarray(pc.not_equal(rejected["reason"], FUTURE))
        rejected = rejected.filter(pa.array(~barred))
    gone = batch.stored - sum(day.num_rows for day in rows.values()) + batch.rejected.num_rows - rejected.num_rows
    if not gone:
        return batch
    return replace(batch, rows=rows, rejected=rejected, refused=batch.refused + gone, barred={**batch.barred, reason: gone})


def _spared(batch: Batch, stones: Tombstones) -> Iterator[tuple[dt.date, Star]]:
    """The days that keep rows, and those."""
    for day, rows in batch.rows.items():
        barred = stones.bars(rows)
        if not barred.any():
            yield day, rows
        elif not np.all(barred):
            yield day, rows.filter(pa.array(~barred))

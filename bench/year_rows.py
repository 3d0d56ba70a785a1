"""Rows of a year as a busy site would leave them, made day by day in memory: no line is written or parsed.

Requests, agents and all that ingest makes of them come from lines of bench/generate.py, which went the whole road of ingest.
Who asks is drawn anew for each day and kept at its real size: about one row in ten of a day brings another address, a fifth
of them IPv6, all located; an address that came often comes again, so that few are there every day and most on a few days.
Four in ten have an account, which some share.
"""

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from bench.generate import generate
from core.schema import stored_schema
from ingest.formats import parse
from ingest.formats.access import COMBINED
from ingest.lines import Lines
from transforms.geolocate import DEFAULT_ASN, Geolocate, default_city
from transforms.pipeline import build

__all__ = ["Year", "prepare"]

ROWS_PER_ADDRESS = 8
"""Rows of a day for each of its distinct addresses."""
POOL = 25
"""Rows of the year for each address it is drawn from."""
SPREAD = 1.8
"""Standard deviation of the logarithm of how often an address comes: the greater, the more come every day."""
TEMPLATES = 250_000
WITH_ACCOUNT = 0.4
LOCATED_AT_ONCE = 500_000

_RESERVED = (0, 10, 100, 127, 169, 172, 192, 198, 203)
_V6_BLOCKS = ("2001", "2400", "2406", "2409", "2600", "2601", "2607", "2804", "2a00", "2a01", "2a02", "2a09")

Random = np.random.Generator
Numbers = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Year:
    """What the rows are drawn from.

    :param who: one row for each address, in the order of their texts: address, place, network and account.
    :param odds: cumulative probability that an address is among those of a day.
    :param what: one row for each template of a request: every other column.
    """

    who: pa.Table
    odds: Numbers
    what: pa.Table
    seed: int

    def day(self, day: dt.date, count: int, batch: str) -> pa.Table:
        """``count`` rows of that day, sorted by address, agent and time, in the columns that are stored."""
        random = np.random.default_rng([self.seed, day.toordinal()])
        present = np.unique(np.searchsorted(self.odds, random.random(round(count / ROWS_PER_ADDRESS))))
        share = np.cumsum(random.lognormal(0, 1.1, len(present)))
        who = present[np.searchsorted(share / share[-1], random.random(count)).clip(max=len(present) - 1)]
        moments = np.sort(random.integers(0, 86_400_000_000, count))
        what = random.integers(0, self.what.num_rows, count)
        agents = pc.rank(self.what["user_agent_original"], tiebreaker="dense").to_numpy()
        order = np.lexsort((agents[what], who))
        midnight = np.datetime64(day, "us").astype(np.int64)
        late = {
            "event_time": pa.array(midnight + moments[order], pa.timestamp("us", tz="UTC")),
            "event_day": pa.repeat(pa.scalar(day, pa.date32()), count),
            "ingest_batch": pa.repeat(pa.scalar(batch), count),
            "ingest_row": pa.array(order, pa.int64()),
        }
        whose = self.who.take(pa.array(who[order]))
        which = self.what.take(pa.array(what[order]))
        columns = {table.schema.names[i]: table.column(i) for table in (which, whose) for i in range(table.num_columns)}
        return pa.table({**columns, **late}).select(stored_schema().names).cast(stored_schema())


def prepare(rows: int, seed: int) -> Year:
    """The year that ``rows`` rows are drawn from; equal arguments give equal rows."""
    random = np.random.default_rng(seed)
    texts = _addresses(random, max(100, rows // POOL))
    texts = texts.take(pc.sort_indices(texts))
    located = pa.concat_tables(_located(texts))
    accounts = _accounts(random, len(texts))
    who = located.append_column("source_address", located["source_ip"]).append_column("account_id", accounts)
    weights = np.cumsum(random.lognormal(0, SPREAD, len(texts)))
    odds = weights / weights[-1]
    odds[-1] = 1.0  # rounding must not leave a gap at the end
    return Year(who.combine_chunks(), odds, _templates(seed, set(who.schema.names)), seed)


def _addresses(random: Random, count: int) -> pa.Array:
    """Distinct addresses in text: four fifths IPv4 outside the first octets with reserved networks, the rest IPv6."""
    first = np.setdiff1d(np.arange(1, 224), _RESERVED)
    decimal = pa.array([str(number) for number in range(256)])
    octets = [decimal.take(pa.array(first[random.integers(0, len(first), count)]))]
    octets += [decimal.take(pa.array(random.integers(0, 256, count))) for _ in range(3)]
    v4 = pc.unique(pc.binary_join_element_wise(*octets, "."))
    hexadecimal = pa.array([f"{number:x}" for number in range(65_536)])
    groups = [pa.array(_V6_BLOCKS).take(pa.array(random.integers(0, len(_V6_BLOCKS), count // 5)))]
    groups += [hexadecimal.take(pa.array(random.integers(1, 65_536, count // 5))) for _ in range(7)]
    v6 = pc.unique(pc.binary_join_element_wise(*groups, ":"))
    return pa.concat_arrays([v4.slice(0, count - len(v6)), v6])


def _located(texts: pa.Array) -> Iterator[pa.Table]:
    geolocate = Geolocate(default_city(), DEFAULT_ASN)
    for start in range(0, len(texts), LOCATED_AT_ONCE):
        piece = texts.slice(start, LOCATED_AT_ONCE)
        yield pa.Table.from_batches([geolocate.apply(pa.record_batch({"source_ip": piece}))])


def _accounts(random: Random, count: int) -> pa.Array:
    """Some addresses have an account; about three addresses in four have it to themselves."""
    numbers = random.integers(0, max(1, int(count * WITH_ACCOUNT * 2)), count)
    texts = pc.binary_join_element_wise("user-", pa.array(numbers).cast(pa.string()), "")
    return pc.if_else(pa.array(random.random(count) < WITH_ACCOUNT), texts, pa.scalar(None, pa.string()))


def _templates(seed: int, taken: set[str]) -> pa.Table:
    data = np.frombuffer(b"".join(generate(TEMPLATES, seed, dt.date(2015, 5, 17))), np.uint8)
    ends = np.flatnonzero(data == ord("\n"))
    rows = build().apply(parse(COMBINED, Lines(data, np.concatenate([[0], ends[:-1] + 1]), ends)).rows)
    return pa.Table.from_batches([rows.select([name for name in rows.schema.names if name not in taken])])

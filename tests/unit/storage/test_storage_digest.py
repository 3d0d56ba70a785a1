"""The content digest: blind to order, and to nothing else."""

import datetime as dt
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.schema import COLUMNS, QUARANTINE_COLUMNS, Column, stored_schema
from storage import extensions
from storage.digest import EMPTY, Digest, digest_of
from tests.unit.storage.rows import day_rows, varied_rows

CONNECTION = extensions.connect(threads=1)
CONNECTION.execute("SET TimeZone = 'UTC'")


def digest(rows: pa.Table, columns: tuple[Column, ...] = COLUMNS) -> Digest:
    CONNECTION.register("given", rows)
    return digest_of(CONNECTION, "given", columns)


def with_value(rows: pa.Table, column: Column, value: Any, row: int = 2) -> pa.Table:
    values = rows[column.name].to_pylist()
    values[row] = value
    field = pa.field(column.name, column.type)
    return rows.set_column(rows.schema.get_field_index(column.name), field, pa.array(values, column.type))


def test_no_rows_have_the_empty_digest() -> None:
    assert digest(day_rows("b1", 0)) == EMPTY == Digest(0, "0000000000000000")


def test_order_does_not_matter() -> None:
    rows = varied_rows("b1")
    shuffled = rows.take([5, 0, 3, 1, 4, 2])
    assert shuffled.to_pylist() != rows.to_pylist()
    assert digest(shuffled) == digest(rows)


def test_the_digests_of_parts_add_up() -> None:
    rows = varied_rows("b1")
    assert digest(rows.slice(0, 2)) + digest(rows.slice(2)) == digest(rows)
    assert digest(rows) + EMPTY == digest(rows)


def test_a_repeated_row_is_seen() -> None:
    rows = day_rows("b1", 3)
    twice = pa.concat_tables([rows, rows.slice(0, 1)])
    assert digest(twice).rows == 4
    assert digest(twice).sum != digest(rows).sum
    assert digest(pa.concat_tables([rows, rows])).sum != EMPTY.sum


OTHER_VALUES: dict[pa.DataType, list[Any]] = {
    pa.string(): ["", "-", "~", " ", "a\0b", "a\0c", "0:", "null", "NULL", "A", "a"],
    pa.int32(): [0, 1, -1, 10, 2**31 - 1],
    pa.int64(): [0, 1, -1, 10, 2**63 - 1],
    pa.float64(): [0.0, 1.0, -1.0, 0.1, 0.1 + 2**-55, 5e-324],
    pa.date32(): [dt.date(2026, 1, 29), dt.date(2026, 1, 31)],
    pa.binary(): [b"", b"\0", b"\xff", b"~"],
    pa.timestamp("us", tz="UTC"): [
        dt.datetime(2026, 1, 30, 23, 59, 59, 999_999, dt.UTC),
        dt.datetime(2026, 1, 30, 23, 59, 59, 999_998, dt.UTC),
    ],
}


@pytest.mark.parametrize("column", COLUMNS, ids=lambda column: column.name)
def test_every_change_of_every_column_is_seen(column: Column) -> None:
    rows = day_rows("b1", 4)
    values = [*([] if column.required else [None]), *OTHER_VALUES[column.type]]
    beside = COLUMNS[max(column.id - 2, 0) : column.id + 1]
    seen = {digest(with_value(rows, column, value), beside) for value in values}
    assert len(seen) == len(values)


@pytest.mark.parametrize("column", QUARANTINE_COLUMNS, ids=lambda column: column.name)
def test_every_change_of_a_rejected_line_is_seen(column: Column) -> None:
    plain = [OTHER_VALUES[each.type][0] for each in QUARANTINE_COLUMNS]
    rows = pa.table(
        [pa.array([value] * 3, each.type) for each, value in zip(QUARANTINE_COLUMNS, plain, strict=True)],
        [c.name for c in QUARANTINE_COLUMNS],
    )
    values = OTHER_VALUES[column.type]
    assert len({digest(with_value(rows, column, value, 1), QUARANTINE_COLUMNS) for value in values}) == len(values)


NUMBERS = [column for column in COLUMNS if column.name in ("source_geo_location_lat", "source_geo_location_lon", "source_as_number")]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ((None, 5.0, -7), (-5.0, None, 7)),
        ((1.0, None, None), (None, 1.0, None)),
        ((None, None, 1), (None, 1.0, None)),
        ((-1.0, None, 1), (None, 1.0, -1)),
    ],
)
def test_numbers_do_not_run_into_their_neighbours(one: tuple[Any, ...], other: tuple[Any, ...]) -> None:
    def rows(values: tuple[Any, ...]) -> pa.Table:
        made = day_rows("b1", 3)
        for column, value in zip(NUMBERS, values, strict=True):
            made = with_value(made, column, value)
        return made

    assert digest(rows(one)) != digest(rows(other))


texts = st.one_of(st.none(), st.text(alphabet="0123:~-,a\0", max_size=6))
numbers = st.one_of(st.none(), st.integers(-20, 20))
pairs = st.lists(st.tuples(texts, texts, numbers, numbers), min_size=1, max_size=4)


@settings(max_examples=150)
@given(pairs, pairs)
def test_equal_digests_mean_equal_rows(one: list[tuple[Any, ...]], other: list[tuple[Any, ...]]) -> None:
    columns = (
        Column(1, "a", pa.string(), ""),
        Column(2, "b", pa.string(), ""),
        Column(3, "c", pa.int64(), ""),
        Column(4, "d", pa.int64(), ""),
    )

    def table(rows: list[tuple[Any, ...]]) -> pa.Table:
        return pa.table({column.name: pa.array([row[number] for row in rows], column.type) for number, column in enumerate(columns)})

    same = sorted(map(repr, one)) == sorted(map(repr, other))
    assert (digest(table(one), columns) == digest(table(other), columns)) == same


def test_columns_outside_the_list_are_not_looked_at() -> None:
    rows = day_rows("b1", 3)
    more = rows.append_column("extra", pa.array([1, 2, 3]))
    assert digest(more) == digest(rows)
    assert digest(rows.select(stored_schema().names[::-1])) == digest(rows)


ADR = Path(__file__).resolve().parents[3] / "docs" / "adr" / "0008-content-digest.md"


def _term(column: Column) -> str:
    name, kind = column.name, column.type
    if pa.types.is_string(kind) or pa.types.is_floating(kind):
        word = f"of_text('{name}', {name}::VARCHAR)"
    else:
        plain = f"epoch_us({name})" if pa.types.is_timestamp(kind) else f"{name} - DATE '1970-01-01'" if pa.types.is_date(kind) else name
        word = f"of_whole('{name}', {plain})"
    return f"{word} + of_null({column.id}, {name})"


def test_the_documented_sql_gives_the_same_sum() -> None:
    rows = pa.concat_tables([varied_rows("b1"), day_rows("b2", 3, user_name="zw\N{LATIN SMALL LETTER O WITH DIAERESIS}lf", url_port=-1)])
    with extensions.connect(threads=1) as auditor:
        auditor.execute(ADR.read_text(encoding="utf-8").partition("```sql\n")[2].partition("```")[0])
        auditor.register("archived", rows)
        number = f"stirred(cut({' + '.join(map(_term, COLUMNS))}))"
        (found,) = auditor.execute(f"SELECT count(*), printf('%016x', cut(sum({number}))::UBIGINT) FROM archived").fetchall()
    assert Digest(*found) == digest(rows)


def test_the_sum_is_what_it_was() -> None:
    """A ledger holds it for a year and more."""
    assert digest(varied_rows("b1")).sum == "f5dd4048db97882c"

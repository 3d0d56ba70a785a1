"""Facts and dimensions say what the flat rows say, whatever they hold."""

import math

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from hypothesis import given
from hypothesis import strategies as st

from core.schema import COLUMNS, by_name, stored_schema
from core.star import DIMENSIONS, FACTS, Coded, Dictionary, Star, encode, encode_columns, keys_of
from tests.unit.storage.rows import day_rows, varied_rows

_TEXTS = st.sampled_from([None, "", "a", "b", "a:1", "~", "\0", "é"])
_FLOATS = st.sampled_from([None, 0.0, -0.0, 1.5, math.nan, math.inf, -1e300])


def same(left: object, right: object) -> bool:
    """Equal, a zero's sign and a NaN too."""
    if isinstance(left, float) and isinstance(right, float):
        return left.hex() == right.hex()
    return left == right


def test_every_column_is_a_fact_or_of_one_dimension() -> None:
    of_dimensions = [name for names in DIMENSIONS.values() for name in names]
    assert sorted([*FACTS, *of_dimensions]) == sorted(column.name for column in COLUMNS)
    assert not set(DIMENSIONS) & {column.name for column in COLUMNS}


def test_rows_of_every_type_and_extreme_come_back() -> None:
    rows = varied_rows("b1")
    star = encode(rows)
    assert star.num_rows == 6
    assert star.flat().cast(stored_schema()).equals(rows.combine_chunks().to_batches()[0])


def test_no_rows_and_no_columns() -> None:
    assert encode(day_rows("b1", 0)).flat().num_rows == 0
    few = day_rows("b1", 3).select(["event_time", "source_ip"])
    assert encode(few).flat().schema.names == ["event_time", "source_ip"]


def test_what_rows_share_is_held_once() -> None:
    star = encode(
        pa.concat_tables([day_rows("b1", 500, source_ip="192.0.2.1", user_agent_name="Curl"), day_rows("b1", 500, source_ip="::1")])
    )
    client, browser = star.dimensions["client"], star.dimensions["browser"]
    assert client.values["source_ip"].to_pylist() == ["192.0.2.1", "::1"]
    assert browser.values["user_agent_name"].to_pylist() == ["Curl", None]
    assert client.numbers.tolist() == browser.numbers.tolist() == [0] * 500 + [1] * 500
    assert client.numbers.dtype == np.int32


@given(st.lists(st.tuples(_TEXTS, _TEXTS, _FLOATS, _FLOATS), max_size=30))
def test_values_that_differ_have_numbers_that_differ(rows: list[tuple[str | None, str | None, float | None, float | None]]) -> None:
    names = ("source_geo_region_name", "source_geo_city_name", "source_geo_location_lat", "source_geo_location_lon")
    columns = {name: pa.array([row[number] for row in rows], by_name(name).type) for number, name in enumerate(names)}
    coded = encode_columns(columns)
    values = coded.values.to_pylist()
    for row, number in zip(rows, coded.numbers, strict=True):
        assert all(same(values[number][name], value) for name, value in zip(names, row, strict=True))
    written = {tuple(value.hex() if isinstance(value, float) else value for value in row) for row in rows}
    assert len(values) == len(written)


def test_more_combinations_than_a_number_can_tell_apart() -> None:
    """Seven columns of a thousand values each: their product is beyond 64 bits."""
    names = DIMENSIONS["place"][:5]
    random = np.random.default_rng(1)
    columns = {name: pa.array(random.permutation(20_000)).cast(pa.string()) for name in names}
    coded = encode_columns(columns)
    assert len(coded.values) == 20_000
    assert all(coded.values[name].take(pa.array(coded.numbers)).equals(column) for name, column in columns.items())


def test_parts_and_filters_keep_only_the_values_they_need() -> None:
    rows = pa.concat_tables([day_rows("b1", 2, source_ip=f"192.0.2.{number}") for number in range(5)])
    star = encode(rows)
    assert star.parts([(0, 10)]) is star
    part = star.parts([(8, 10), (2, 3)])
    assert part.flat()["source_ip"].to_pylist() == ["192.0.2.4", "192.0.2.4", "192.0.2.1"]
    assert sorted(part.dimensions["client"].values["source_ip"].to_pylist()) == ["192.0.2.1", "192.0.2.4"]
    kept = star.filter(pc.equal(rows["source_ip"].combine_chunks(), "192.0.2.3"))
    assert kept.dimensions["client"].values["source_ip"].to_pylist() == ["192.0.2.3"]
    assert kept.num_rows == 2


def test_dimensions_that_are_known_already_are_taken_as_they_are() -> None:
    rows = day_rows("b1", 2, source_ip="192.0.2.1").select(["event_time", "source_ip"])
    known = Coded(np.array([0, 0], np.int32), pa.RecordBatch.from_arrays([pa.array(["::1"])], names=["source_ip"]))
    star = encode(rows, {"client": known})
    assert star.flat()["source_ip"].to_pylist() == ["::1", "::1"]
    assert isinstance(star, Star)


def batch_of(*ips: str | None) -> pa.RecordBatch:
    values = pa.array(ips, pa.string())
    return pa.RecordBatch.from_arrays([values, values], names=["source_address", "source_ip"])


def test_a_dictionary_gives_a_value_the_same_number_in_every_batch() -> None:
    dictionary = Dictionary("client")
    codes, fresh = dictionary.codes(batch_of("a", "b", None))
    assert (codes.tolist(), fresh.tolist()) == ([0, 1, 2], [True, True, True])
    codes, fresh = dictionary.codes(batch_of("c", None, "a", "d"))
    assert (codes.tolist(), fresh.tolist()) == ([3, 2, 0, 4], [True, False, False, True])
    assert len(dictionary) == 5
    coded = dictionary.coded(np.array([4, 0, 4], np.int32))
    assert coded.values["source_ip"].take(pa.array(coded.numbers)).to_pylist() == ["d", "a", "d"]
    assert coded.codes is not None
    assert coded.codes.tolist() == [0, 4]
    assert coded.used().codes is coded.codes
    one = coded.at(coded.numbers[:1]).used()
    assert (one.values["source_ip"].to_pylist(), one.codes.tolist() if one.codes is not None else None) == (["d"], [4])


@given(st.lists(st.tuples(_TEXTS, _TEXTS), max_size=20), st.lists(st.tuples(_TEXTS, _TEXTS), max_size=20))
def test_keys_differ_as_rows_do(left: list[tuple[str | None, str | None]], right: list[tuple[str | None, str | None]]) -> None:
    """Also across batches in which whole columns are null or the same as the first."""
    keys: dict[str, tuple[str | None, str | None]] = {}
    for rows in (left, right):
        columns = {name: pa.array([row[number] for row in rows], pa.string()) for number, name in enumerate(DIMENSIONS["client"])}
        for key, row in zip(keys_of("client", columns, len(rows)).to_pylist(), rows, strict=True):
            assert keys.setdefault(key, row) == row


def test_keys_of_a_dimension_whose_first_column_is_absent() -> None:
    keys = keys_of("client", {"source_ip": pa.array(["a", None, "~"])}, 3)
    assert keys.to_pylist() == ["~:1:a", "~:~:~", "~:1:~"]
    assert keys_of("client", {}, 2).to_pylist() == ["~:~", "~:~"]

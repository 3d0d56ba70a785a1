"""Saved queries asked of days whose rows are known: real encrypted day files, opened and queried as always."""

import datetime as dt
import itertools
from collections import defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from core.clock import UTC
from core.schema import COLUMNS, stored_schema
from query.lake import HotFile, LakeView
from query.run import run
from query.saved import find
from tests.unit.query.conftest import KEY, write_hot

__all__ = ["NOW", "Ask", "Row", "answer", "ask", "at", "days_ago", "minutes_ago", "row", "view_of"]

NOW = dt.datetime(2026, 3, 11, 12, 30, tzinfo=UTC)
"""A Wednesday: what the days take for the present."""

Row = dict[str, Any]
Ask = Callable[..., list[dict[str, Any]]]


def at(text: str) -> dt.datetime:
    """That time of the days, in UTC: ``03-11 09:15``, seconds if need be."""
    return dt.datetime.fromisoformat(f"2026-{text}").replace(tzinfo=UTC)


def minutes_ago(minutes: float) -> dt.datetime:
    """So many minutes before the present."""
    return NOW - dt.timedelta(minutes=minutes)


def days_ago(days: float) -> dt.datetime:
    """So many days before the present."""
    return NOW - dt.timedelta(days=days)


def row(when: dt.datetime, address: str = "198.51.100.1", status: int = 200, **more: Any) -> Row:
    """A request: GET / by nobody, unless told otherwise. ``user``, ``country``, ``path`` and the like are short for columns."""
    values = {_SHORT.get(name, name): value for name, value in more.items()}
    usual = {"http_request_method": "GET", "url_path": "/", "source_address": address, "source_ip": address}
    return {**usual, "event_time": when, "event_day": when.date(), "http_response_status_code": status, **values}


_SHORT = {
    "agent": "user_agent_original",
    "browser": "user_agent_name",
    "bytes": "http_response_body_bytes",
    "country": "source_geo_country_iso_code",
    "device": "user_agent_device_type",
    "domain": "url_domain",
    "lat": "source_geo_location_lat",
    "lon": "source_geo_location_lon",
    "method": "http_request_method",
    "nanoseconds": "event_duration",
    "network": "source_as_number",
    "os": "user_agent_os_name",
    "path": "url_path",
    "query": "url_query",
    "referrer": "http_request_referrer",
    "user": "user_name",
}


def view_of(folder: Path, rows: list[Row]) -> LakeView:
    """A view over day files that hold the rows."""
    numbers, days = itertools.count(), defaultdict(list)
    for each in rows:
        days[each["event_day"]].append({**each, "ingest_batch": "b", "ingest_row": next(numbers)})
    for day, held in days.items():
        columns = {c.name: pa.array([each.get(c.name) for each in held], c.type) for c in COLUMNS}
        write_hot(folder / f"{day}.duckdb", pa.table(columns, schema=stored_schema()))
    hot = tuple(HotFile(folder / f"{day}.duckdb", KEY, day) for day in sorted(days))
    return LakeView(now=NOW, temp_dir=folder / "spill", hot=hot, memory_limit="300MB", threads=2)


def answer(view: LakeView, name: str, values: Mapping[str, str]) -> list[dict[str, Any]]:
    """Rows of a saved query, in their order."""
    with run(view, find(name).statement(values)) as result:
        return [row for batch in result.batches() for row in batch.to_pylist()]


@pytest.fixture
def ask(tmp_path: Path) -> Ask:
    """Writes rows to days, once, and asks a saved query of them."""
    views: list[LakeView] = []

    def asked(name: str, rows: list[Row], **values: str) -> list[dict[str, Any]]:
        if not views:
            views.append(view_of(tmp_path, rows))
        return answer(views[0], name, values)

    return asked

"""The tour: ten thousand real request lines live through a whole year, in about a minute.

Everything is real but the clock: the same commands, stores and jobs as in production, on a data directory whose clock moves
only when it is told to.
"""

import contextlib
import tempfile
import time
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

from auditlake import lake as lakes
from auditlake.analyst import build_view
from auditlake.console import progress, results, show_json, show_table
from auditlake.intake import ingest_files
from auditlake.settings import Settings
from core.clock import parse_instant, to_iso
from core.errors import AuditlakeError, UsageError
from core.policy import Period
from jobs import runner
from jobs.ingest import Tally
from jobs.verify import check
from query.run import run

__all__ = ["tour"]

_BEGIN = "2015-05-20T00:00:00Z"
_TABLES = {
    "countries": "SELECT source_geo_country_name AS country, count(*) AS requests, count(DISTINCT source_ip) AS addresses FROM requests "
    "GROUP BY ALL ORDER BY requests DESC, country LIMIT 8",
    "cities": "SELECT source_geo_city_name AS city, source_geo_country_iso_code AS country, count(*) AS requests FROM requests "
    "WHERE city IS NOT NULL GROUP BY ALL ORDER BY requests DESC, city LIMIT 5",
    "browsers": "SELECT user_agent_name AS browser, count(*) AS requests FROM requests GROUP BY ALL "
    "ORDER BY requests DESC, browser LIMIT 8",
    "devices": "SELECT user_agent_device_type AS device, count(*) AS requests FROM requests GROUP BY ALL ORDER BY requests DESC, device",
}
_EVERYTHING = (
    "SELECT count(*) AS rows, count(DISTINCT source_ip) AS addresses, sum(http_response_body_bytes)::BIGINT AS bytes, "
    "bit_xor(hash(requests))::VARCHAR AS fingerprint FROM requests"
)
Rows = list[dict[str, Any]]


def tour(folder: Path | None, as_json: bool) -> None:
    """Run the tour; with ``as_json`` print its figures and nothing else.

    :param folder: the data directory to use and keep; a temporary one is removed.
    :raises UsageError: the folder holds a data directory already.
    """
    if folder is not None and folder.exists() and any(folder.iterdir()):
        raise UsageError(f"folder {folder} is not empty", "name a new one, or leave --data-dir out")
    with contextlib.ExitStack() as stack:
        data_dir = folder or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="auditlake-demo-")))
        figures = _Tour(data_dir, Settings(), quiet=as_json).take(kept=folder is not None)
    if as_json:
        show_json(figures)
    if not (figures["same_answer"] and figures["verified"] and not figures["left"]):
        raise AuditlakeError("the demo did not show what it should", "please report this with the output above")


class _Tour:
    def __init__(self, data_dir: Path, settings: Settings, quiet: bool) -> None:
        self._data_dir, self._settings, self._quiet = data_dir, settings, quiet

    def take(self, kept: bool) -> dict[str, Any]:
        """Live through the year; returns what was seen, as figures."""
        began = time.perf_counter()
        figures: dict[str, Any] = {"data_dir": str(self._data_dir) if kept else "", "began": _BEGIN}
        figures |= self._arrive()
        figures |= self._ask()
        figures |= self._roll()
        figures |= self._purge()
        figures["seconds"] = round(time.perf_counter() - began, 1)
        self._tell(f"\n[bold]That was a year in {figures['seconds']} seconds.[/] Now your own log: see README.md, or auditlake --help.")
        return figures

    def _arrive(self) -> dict[str, Any]:
        self._title("1. Ten thousand real request lines arrive")
        self._tell("A web site's access log of May 2015. Its clock is simulated: it is 20 May 2015, and moves only when told to.")
        lakes.create(self._data_dir, self._settings, parse_instant(_BEGIN))
        with as_file(files("auditlake") / "data" / "access.log.gz") as log:
            first, again = self._ingest(log), self._ingest(log)
        self._tell(
            f"Read {first.read:,} lines: {first.stored:,} stored, {first.quarantined:,} in quarantine, {first.refused:,} refused, "
            f"in {first.seconds:.1f} s. Each was located, its browser and device named, secrets in its URL taken out."
        )
        self._tell(
            f"The same file a second time: {again.stored:,} stored, {again.repeated:,} known by their content. Nothing is there twice."
        )
        names = ("read", "stored", "quarantined", "refused", "repeated")
        return {**{name: getattr(first, name) for name in names}, "repeated_second_time": again.repeated}

    def _ask(self) -> dict[str, Any]:
        self._title("2. An analyst asks")
        figures: dict[str, Any] = {"hot_files": self._hot_files()}
        self._tell(
            f"The rows are hot: {figures['hot_files']} DuckDB files, one a day, each encrypted (AES-256-GCM) under a key of its own."
        )
        for name, sql in _TABLES.items():
            figures[name] = self._query(sql)
            if not self._quiet:
                show_table(list(figures[name][0]), [list(row.values()) for row in figures[name]], name)
        return figures

    def _roll(self) -> dict[str, Any]:
        self._title("3. A month passes: the days are rolled into Parquet")
        before = self._query(_EVERYTHING)
        now = self._advance("32d")
        with self._open(work=True) as lake:
            outcome = runner.run(lake.context, "roll")
        archived = sum(path.stat().st_size for path in self._data_dir.rglob("*.parquet"))
        same = before == self._query(_EVERYTHING)
        self._tell(
            f"It is {now[:10]}. The nightly roll wrote {outcome.figures['rows']:,} rows of {outcome.figures['segments']} days to an Apache "
            f"Iceberg table ({archived:,} bytes), read them back, compared every value, and only then gave up the hot files."
        )
        self._tell(
            f"Hot files left: {self._hot_files()}. The same question over every column: {'the same answer' if same else 'ANOTHER ANSWER'}."
        )
        return {"rolled": outcome.figures["rows"], "archive_bytes": archived, "same_answer": same}

    def _purge(self) -> dict[str, Any]:
        self._title("4. The year is over: everything is destroyed, and that is proved")
        now = self._advance("334d")
        with self._open(work=True) as lake:
            outcome = runner.run(lake.context, "purge")
            report = check(lake.context, full=True)
        left = self._left()
        self._tell(f"It is {now[:10]}. The nightly purge destroyed {outcome.figures['rows']:,} rows: files, partitions, snapshots, keys.")
        self._tell("An independent look at every folder finds: " + ", ".join(self._files()) + ".")
        self._tell("Of the requests: " + ("nothing." if not left else ", ".join(left)))
        if not self._quiet:
            names = ("day", "stored", "purged", "hot", "archived", "ok")
            rows = [[getattr(a, n) if n != "day" else a.segment.day.isoformat() for n in names] for a in report.accounts]
            show_table(names, rows, "verify")
        self._tell(
            f"The ledger has {report.chain.events} events, each bound to the one before by SHA-256: {report.chain.fault or 'unbroken'}."
        )
        return {
            "purged": outcome.figures["rows"],
            "left": left,
            "files": self._files(),
            "ledger_events": report.chain.events,
            "verified": report.ok,
        }

    def _ingest(self, log: Path) -> Tally:
        with self._open(work=True) as lake:
            return ingest_files(lake, [str(log)], "combined", "requests")

    def _query(self, sql: str) -> Rows:
        with self._open() as lake, run(build_view(lake), sql) as result:
            return [row for batch in result.batches() for row in batch.to_pylist()]

    def _advance(self, duration: str) -> str:
        with self._open() as lake:
            return to_iso(lakes.advance_clock(lake, Period.parse(duration)))

    @contextlib.contextmanager
    def _open(self, work: bool = False) -> Any:
        with contextlib.ExitStack() as stack:
            report = stack.enter_context(progress()) if work and not self._quiet else None
            stack.enter_context(lakes.exclusive(self._data_dir))
            yield stack.enter_context(lakes.open_lake(self._data_dir, self._settings, report))

    def _files(self) -> list[str]:
        return sorted(str(path.relative_to(self._data_dir)) for path in self._data_dir.rglob("*") if path.is_file())

    def _left(self) -> list[str]:
        """Files beyond the ledger and control: the database, its log, the lock, the master key."""
        return [name for name in self._files() if not name.startswith(("control.sqlite", "keys/", "lock"))]

    def _hot_files(self) -> int:
        return len([*self._data_dir.rglob("*.duckdb")])

    def _title(self, text: str) -> None:
        self._tell(f"\n[bold]{text}[/]")

    def _tell(self, text: str) -> None:
        if not self._quiet:
            results().print(text, soft_wrap=True)

"""How fast lines reach durable hot storage, beside GoAccess reading the same file in the same run.

GoAccess counts lines into panels in memory and writes a report; auditlake stores every line with its columns. Both look at the
same facts: address, time, request, status, size, referrer, place and network of the address by the same two databases, browser
and system. GoAccess runs as Debian's package configures it (/etc/goaccess/goaccess.conf: ``real-os``, no panels of referrers
and keyphrases), without its list of agents per host, which would slow it, and without a terminal:

    goaccess access.log --no-global-config --log-format=COMBINED --real-os --ignore-panel=REFERRERS --ignore-panel=KEYPHRASES
        --geoip-database=CITY --geoip-database=ASN --no-progress --output=report.json

Options are those of its manual, goaccess(1) of 1.7, and of its ChangeLog (1.7 is the first to take several databases). 1.7 reads a
file in one thread; it has no option for more. The report must count every line, and its panels of places and networks must name
some, or the benchmark fails.

    python -m bench.peers --lines 5000000 --seed 1
"""

# Nothing heavy may be imported here: the kernel counts the memory of the parent, as it was at the fork, as the child's.
import argparse
import json
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.ingest import against, ingest, write_log
from bench.measure import HEAD, Run, run, stored_bytes, table

__all__ = ["Report", "command", "databases", "main", "read_report"]

_MISSING = "goaccess is not installed. On Debian and Ubuntu: apt-get install goaccess; then: make bench-peers"
_NO_PLACES = "the city database is not installed; run: make setup"
_DATABASES = (
    "import json; from transforms.geolocate import DEFAULT_ASN, default_city; "
    "print(json.dumps([str(path) for path in (default_city(), DEFAULT_ASN) if path and path.exists()]))"
)
_UNKNOWN = "Unknown"


@dataclass(frozen=True)
class Report:
    """What GoAccess says it did.

    :param lines: lines it read; :param valid: those it took.
    :param located: part of the hits whose country is known; :param networked: whose network is.
    """

    lines: int
    valid: int
    located: float
    networked: float


def databases() -> list[str]:
    """The databases that auditlake uses where nothing is configured: of cities, of autonomous systems.

    :raises SystemExit: one is not installed.
    """
    found: list[str] = json.loads(run(sys.executable, "-c", _DATABASES).output)
    if len(found) < 2:
        raise SystemExit(_NO_PLACES)
    return found


def command(program: str, log: Path, report: Path, places: list[str]) -> list[str]:
    """GoAccess over a log, to a report."""
    panels = ("--real-os", "--ignore-panel=REFERRERS", "--ignore-panel=KEYPHRASES")
    geo = (f"--geoip-database={path}" for path in places)
    return [program, str(log), "--no-global-config", "--log-format=COMBINED", *panels, *geo, "--no-progress", f"--output={report}"]


def read_report(text: str) -> Report:
    """What a report in JSON says."""
    report = json.loads(text)
    general = report["general"]
    # Countries are within continents; networks are a list.
    countries = [country for continent in _rows(report, "geolocation") for country in continent.get("items", [continent])]
    return Report(general["total_requests"], general["valid_requests"], _known(countries), _known(_rows(report, "asn")))


def _rows(report: dict[str, Any], panel: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = report.get(panel, {}).get("data", [])
    return rows


def _known(rows: list[dict[str, Any]]) -> float:
    """The part of the hits in rows that name something."""
    hits = [(row["hits"]["count"], _UNKNOWN not in row["data"]) for row in rows]
    whole = sum(count for count, _ in hits)
    return sum(count for count, known in hits if known) / whole if whole else 0.0


def _goaccess(program: str, log: Path, report: Path, lines: int) -> tuple[Run, Report]:
    done = run(*command(program, log, report, databases()))
    found = read_report(report.read_text(encoding="utf-8", errors="replace"))
    if found.lines != lines or found.valid < 0.99 * lines or not found.located or not found.networked:
        raise SystemExit(f"{lines} lines were written, and GoAccess reports {found}")
    return done, found


def _measure(folder: Path, program: str, lines: int, seed: int) -> None:
    log, report, data = folder / "access.log", folder / "report.json", folder / "data"
    write_log(log, lines, seed)
    print(run(program, "--version").output.splitlines()[0].rstrip("."), flush=True)
    peer, found = _goaccess(program, log, report, lines)
    print(f"GoAccess knew the country of {found.located:.1%} of the lines it lists, the network of {found.networked:.1%}", flush=True)
    own = ingest(log, data, lines)
    rows = [peer.row("GoAccess", lines, stored_bytes(report)), own.row("ingest", lines, stored_bytes(data))]
    print("\n".join(table(HEAD, rows)))
    print(f"GoAccess takes {against(peer, own)} that of ingest")


def main(arguments: list[str] | None = None) -> None:
    """The command.

    :raises SystemExit: GoAccess is not installed, or did not do what it is measured at.
    """
    parser = argparse.ArgumentParser(prog="python -m bench.peers", description="Measure ingest beside GoAccess.")
    parser.add_argument("--lines", type=int, default=5_000_000, help="lines that both read (5,000,000)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, help="where to make the temporary files (the system's place for them)")
    options = parser.parse_args(arguments)
    program = shutil.which("goaccess")
    if program is None:
        raise SystemExit(_MISSING)
    with tempfile.TemporaryDirectory(dir=options.folder, prefix="auditlake-bench-") as folder:
        _measure(Path(folder), program, options.lines, options.seed)


if __name__ == "__main__":
    main()

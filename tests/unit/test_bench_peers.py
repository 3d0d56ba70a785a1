"""The benchmark beside GoAccess: what it is asked, and what is read from its report. GoAccess itself is not needed."""

import json
from pathlib import Path
from typing import Any

import pytest

from bench import peers as bench
from bench.measure import Run
from bench.peers import Report, command, databases, read_report
from transforms.geolocate import DEFAULT_ASN, default_city


def _row(name: str, hits: int, *items: dict[str, Any]) -> dict[str, Any]:
    return {"hits": {"count": hits, "percent": "01.00"}, "data": name, **({"items": list(items)} if items else {})}


def _report(located: int = 60, lines: int = 100) -> str:
    """A report as GoAccess 1.7 writes it: panels that are not looked at are left out."""
    europe = _row("EU Europe", located, _row("DE Germany", located - 10), _row("FR France", 10))
    panels = {
        "general": {"total_requests": lines, "valid_requests": lines - 1, "failed_requests": 1},
        "geolocation": {"metadata": {}, "data": [europe, _row("Unknown", 40, _row("Unknown", 40))] if located else []},
        "asn": {"metadata": {}, "data": [_row("00000: Unknown", 30), _row("03320: Deutsche Telekom AG", 70)]},
    }
    return json.dumps(panels)


def test_a_report_is_read() -> None:
    assert read_report(_report()) == Report(lines=100, valid=99, located=0.6, networked=0.7)


def test_a_report_without_places_has_located_nothing() -> None:
    general = {"general": {"total_requests": 5, "valid_requests": 5}}
    assert read_report(json.dumps(general)) == Report(5, 5, 0.0, 0.0)


def test_it_is_given_the_same_databases() -> None:
    city = default_city()
    assert city is not None
    places = databases()
    assert places == [str(city), str(DEFAULT_ASN)]
    asked = command("goaccess", Path("a.log"), Path("r.json"), places)
    assert asked[:2] == ["goaccess", "a.log"]
    assert [word for word in asked if word.startswith("--geoip")] == [f"--geoip-database={city}", f"--geoip-database={DEFAULT_ASN}"]
    assert asked[-1] == "--output=r.json"


def _run(report: str) -> Any:
    """Answers for the programs: GoAccess takes 30 s of CPU, ingest 4."""

    def run(*words: str) -> Run:
        if "bench.generate" in words:
            Path(words[-1].removeprefix("--out=")).write_bytes(b"line\n" * int(words[3]))
        elif words[0].endswith("goaccess") and "--version" not in words:
            Path(words[-1].removeprefix("--output=")).write_text(report)
            return Run(40.0, 30.0, 700.0, "")
        figures = {"read": 100, "stored": 100, "quarantined": 0, "refused": 0, "repeated": 0}
        outputs = {"--version": "GoAccess - 1.7.\n", "--json": json.dumps(figures), "-c": '["city", "asn"]'}
        return Run(2.0, 4.0, 200.0, next((text for word, text in outputs.items() if word in words), ""))

    return run


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setattr("shutil.which", lambda name: f"/opt/{name}")
    return monkeypatch


def _answer(monkeypatch: pytest.MonkeyPatch, report: str) -> None:
    for module in ("bench.peers", "bench.ingest"):
        monkeypatch.setattr(f"{module}.run", _run(report))


def test_the_command_says_its_ratio(installed: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    _answer(installed, _report())
    bench.main(["--lines", "100"])
    said = capsys.readouterr().out
    assert "GoAccess - 1.7\n" in said
    assert "GoAccess knew the country of 60.0% of the lines it lists, the network of 70.0%" in said
    assert "GoAccess takes 20.00 times (7.50) that of ingest" in said


@pytest.mark.parametrize("report", [_report(located=0), _report(lines=90)], ids=["no places", "too few lines"])
def test_a_peer_that_did_not_do_the_work_is_not_measured(report: str, installed: pytest.MonkeyPatch) -> None:
    _answer(installed, report)
    with pytest.raises(SystemExit, match="100 lines were written, and GoAccess reports"):
        bench.main(["--lines", "100"])


def test_one_that_is_absent_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda _: None)
    with pytest.raises(SystemExit, match="apt-get install goaccess"):
        bench.main([])

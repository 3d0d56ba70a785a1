"""Settings as a person meets them: what is refused, by which name, and what wins over what."""

from pathlib import Path

import pytest

from auditlake.settings import load
from tests.commandline import CommandLine, combined, start

REFUSED = {
    "x = 1": "unknown key x",
    "[streams.requests]\nhott = '1 day'": "unknown key streams.requests.hott",
    "[archive.s3]\nkey = 'a'": "unknown key archive.s3",
    "[streams.requests]\nhot = '0 days'": "streams.requests.hot: '0 days' is zero",
    "[streams.requests]\nkeep = '0y'": "streams.requests.keep: '0y' is zero",
    "[streams.requests]\nhot = 0": "streams.requests.hot",
    "[streams.requests]\nhot = 'soon'": "streams.requests.hot: 'soon' is not a period",
    "[streams.requests]\nhot = '-1 days'": "streams.requests.hot: '-1 days' is not a period",
    "[streams.requests]\nkeep = '99999 years'": "longer than 200 years",
    "[streams.requests]\nhot = '2 years'": "hot = '2 years' is longer than keep = '1 year'",
    "[streams.requests]\nhot = '31 days'\nkeep = '1 month'": "hot = '31 days' is longer than keep = '1 month'",
    "[streams.requests]\nquarantine = '2 years'": "quarantine = '2 years' is longer than keep",
    "[streams.Upper]\nhot = '1 day'": "stream name 'Upper' is not allowed",
    "[streams.'../x']\nhot = '1 day'": "stream name '../x' is not allowed",
    "[streams]": "no stream is configured",
    "streams = 3": "streams:",
    "[ingest]\nbatch = '0MB'": "ingest.batch: '0MB' is not a size",
    "[ingest]\nbatch = 'much'": "ingest.batch: 'much' is not a size",
    "[ingest]\nformat = 3": "ingest.format",
    "[ingest]\ntrusted_proxies = ['10.0.0.1/8']": "ingest.trusted_proxies.0: '10.0.0.1/8' has host bits set; write 10.0.0.0/8",
    "[ingest]\ntrusted_proxies = ['::1', 'proxy.example']": "ingest.trusted_proxies.1: 'proxy.example' is not an address or network",
    "[ingest]\ntrusted_proxies = '10.0.0.0/8'": "ingest.trusted_proxies",
    "[ingest]\nproxy_headers = ['x_real_ip']": "ingest.proxy_headers.0",
    "[ingest]\ntimezone = 'Mars'": "ingest.timezone: 'Mars' is not a time zone",
    "[formats.shop]": "formats.shop: nothing says what its lines are; give exactly one of apache, nginx, w3c, csv, json",
    "[formats.shop]\napache = '%h'\ncsv = 'a,b'": "formats.shop: apache and csv say what its lines are",
    "[formats.shop]\napach = '%h'": "unknown key formats.shop.apach",
    "[formats.shop]\napache = '%h'\nescape = 'json'": "formats.shop: escape goes with nginx only",
    "[formats.shop]\napache = '%h'\nzone = 'Mars'": "formats.shop.zone: 'Mars' is not a time zone",
    "[formats.shop]\njson = 'x'": "formats.shop.json",
    "[formats.'Shop']\napache = '%h'": "format name 'Shop' is not allowed",
    "[formats.'a+b']\napache = '%h'": "format name 'a+b' is not allowed",
    "[formats.combined]\napache = '%h'": "format name 'combined' is taken",
    "[formats.auto]\napache = '%h'": "format name 'auto' is taken",
    "[query]\ntable_rows = 0": "query.table_rows",
    "[query]\ntable_rows = 'all'": "query.table_rows",
    "[resources]\nthreads = -1": "resources.threads",
    "[archive]\nurl = 'ftp://x/y'": "neither s3://bucket/prefix nor file:///folder",
    "[archive]\nurl = 's3://Bad_Bucket'": "neither s3://bucket/prefix nor file:///folder",
    "[archive]\nurl = 's3://bucket//x'": "neither s3://bucket/prefix nor file:///folder",
    "[archive]\nurl = 's3://bucket/a/../b'": "neither s3://bucket/prefix nor file:///folder",
    "[archive]\npath_style = 'yes'": "archive.path_style",
    "[jobs.roll]\nschedule = 'nightly'": "schedule 'nightly' is not five cron fields",
    "[jobs.roll]\nschedule = '99 0 * * *'": "is not five cron fields",
    "[jobs.other]\nschedule = '5 0 * * *'": "unknown key jobs.other",
    "[clock]\nmax_jump = 'far'": "clock.max_jump: 'far' is not a period",
    "[[sources]]\nname = 'a'\nkind = 'follow'": "a source of kind 'follow' needs paths",
    "[[sources]]\nname = 'a'\nkind = 's3'\nurl = 'http://x'": "url = 'http://x' is no s3://bucket/prefix",
    "[[sources]]\nname = 'a'\nkind = 's3'\nurl = 's3://bucket/x'\nqueue = 'https://user:word@host/q'": "queue is no http:// or https://",
    "[[sources]]\nname = 'a'\nkind = 'follow'\npaths = ['x']\nregion = 'y'": "a source of kind 'follow' has no region",
    "[[sources]]\nname = 'a'\nkind = 'syslog'\nlisten = '127.0.0.1:1'\nevery = 1": "a source of kind 'syslog' has no every",
    "][": "is not TOML",
    "[streams.requests]\nhot = '1 day'\nhot = '2 days'": "is not TOML",
}


@pytest.fixture
def lake(tmp_path: Path) -> CommandLine:
    return CommandLine(tmp_path / "lake").begin("2015-05-20T00:00:00Z")


def first_due(lake: CommandLine, *options: str | Path) -> str:
    """When the roll of 17 May falls due, which tells what ``hot`` is in force."""
    segments = lake("status", *options)["segments"]
    return str(segments[0]["roll_due"])


def test_what_is_refused(lake: CommandLine, tmp_path: Path) -> None:
    config = tmp_path / "c.toml"
    for text, why in REFUSED.items():
        config.write_text(text)
        answer = lake.try_("--config", config, "status").expect(2)
        assert why in answer.said, text
        assert str(config) in answer.said, "the file is named"
        assert len(answer.err.strip().splitlines()) == 1
        assert answer.json["error"] in answer.said


def test_files_that_are_no_configuration(lake: CommandLine, tmp_path: Path) -> None:
    (tmp_path / "bytes").write_bytes(b"\xff\xfe")
    for name, why in (("none", "No such file"), (".", "Is a directory"), ("bytes", "is not TOML")):
        answer = lake.try_("status", "--config", tmp_path / name).expect(2)
        assert why in answer.said
        assert str(tmp_path / name) in answer.said


@pytest.mark.parametrize(
    ("variable", "value", "why"),
    [
        ("AUDITLAKE_STREAMS__REQUESTS__HOT", "0 days", "streams.requests.hot: '0 days' is zero"),
        ("AUDITLAKE_QUERY__TABLE_ROWS", "many", "query.table_rows"),
        ("AUDITLAKE_QUERY__NOTHING", "1", "unknown key query.nothing"),
        ("AUDITLAKE_NOTHING", "1", "unknown key nothing"),
    ],
)
def test_a_refused_variable_is_named(lake: CommandLine, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, why: str) -> None:
    monkeypatch.setenv(variable, value)
    said = lake.try_("status").expect(2).said
    assert variable in said
    assert why in said


def test_variables_that_contradict_each_other(lake: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUDITLAKE_ARCHIVE", "x")
    monkeypatch.setenv("AUDITLAKE_ARCHIVE__URL", "file:///x")
    assert "AUDITLAKE_ARCHIVE" in lake.try_("status").expect(2).said


def test_option_before_variable_before_file_before_default(lake: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lake("ingest", "-", "--format", "combined", stdin=combined({"17/May/2015": 5}))
    monkeypatch.chdir(tmp_path)
    assert first_due(lake) == "2015-06-18T00:00:00Z", "the default: one month after the day's end"
    (tmp_path / "config.toml").write_text('[streams.requests]\nhot = "1 week"\n')
    assert first_due(lake) == "2015-05-25T00:00:00Z", "config.toml of the working folder"
    (tmp_path / "other.toml").write_text('[streams.requests]\nhot = "2 weeks"\n')
    monkeypatch.setenv("AUDITLAKE_CONFIG", str(tmp_path / "other.toml"))
    assert first_due(lake) == "2015-06-01T00:00:00Z", "a file named by a variable"
    assert first_due(lake, "--config", tmp_path / "config.toml") == "2015-05-25T00:00:00Z", "an option goes before it"
    monkeypatch.setenv("AUDITLAKE_STREAMS__REQUESTS__HOT", "3 days")
    assert first_due(lake) == "2015-05-21T00:00:00Z", "a variable goes before any file"


def test_the_data_directory_by_variable_and_option(lake: CommandLine, tmp_path: Path) -> None:
    given = {"AUDITLAKE_DATA_DIR": str(lake.data_dir)}
    assert start("status", "--json", environment=given).expect(0).json["data_dir"] == str(lake.data_dir)
    start("status", "--data-dir", tmp_path / "none", environment=given).expect(2)
    start("status", cwd=tmp_path).expect(2)


def test_a_false_override_wins_too(lake: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is false, zero or empty is a value: it must not be taken for "not given"."""
    config = tmp_path / "c.toml"
    config.write_text(
        f"""
        [archive]
        url = "file://{tmp_path}/far"
        [resources]
        threads = 2000
        [redact]
        parameters = ["page"]
        """
    )
    assert "resources.threads" in lake.try_("--config", config, "status").expect(2).said
    monkeypatch.setenv("AUDITLAKE_RESOURCES__THREADS", "0")
    monkeypatch.setenv("AUDITLAKE_ARCHIVE__URL", "")
    monkeypatch.setenv("AUDITLAKE_REDACT__PARAMETERS", "[]")
    line = '10.0.0.1 - - [17/May/2015:00:00:00 +0000] "GET /?page=secret&token=open HTTP/1.1" 200 1 "-" "-"\n'
    lake("--config", config, "ingest", "-", "--format", "combined", stdin=line.encode())
    assert lake.value("SELECT url_query FROM requests") == "page=secret&token=open", "an empty list leaves parameters alone"
    lake.advance("32d")
    lake("--config", config, "run", "roll")
    assert not (tmp_path / "far").exists()
    assert [*(lake.data_dir / "archive").rglob("*.parquet")]


def test_a_stream_of_its_own_limits(lake: CommandLine, tmp_path: Path) -> None:
    config = tmp_path / "c.toml"
    config.write_text('[streams.requests]\n[streams.short]\nhot = "1 day"\nkeep = "2 days"\nquarantine = "1 day"\n')
    lines = combined({"18/May/2015": 3, "19/May/2015": 5}) + b"no request\n"
    counted = lake("--config", config, "ingest", "-", "--format", "combined", "--stream", "short", stdin=lines)
    assert (counted["stored"], counted["refused"], counted["quarantined"]) == (5, 3, 1), "the first day is two days old already"
    assert lake("verify")["ok"], "a stream that is no longer configured is still accounted for"
    decisions = {d["stream"]: d["reason"] for d in lake("plan")["decisions"]}
    assert "no stream short is configured" in decisions["short"]
    lake.advance("1d")
    lake("--config", config, "run", "purge")
    assert lake("--config", config, "status")["segments"][-1]["state"] == "destroyed"
    assert lake("verify")["ok"]


def test_names_of_json_fields(lake: CommandLine, tmp_path: Path) -> None:
    config = tmp_path / "c.toml"
    config.write_text('[ingest]\nformat = "json"\n[ingest.json_fields]\n"client.addr" = "source_address"\nts = "event_time"\n')
    line = b'{"ts": "2015-05-19T10:00:00Z", "client": {"addr": "10.0.0.1"}, "more": 1}\n'
    assert lake("--config", config, "ingest", "-", stdin=line)["stored"] == 1
    assert lake.rows("SELECT source_ip, labels FROM requests") == [{"source_ip": "10.0.0.1", "labels": '{"more":1}'}]
    config.write_text('[ingest.json_fields]\nts = "no_such_column"\n')
    answer = lake.try_("--config", config, "ingest", "-", "--format", "json", stdin=line).expect(2)
    assert "no_such_column" in answer.said


def test_trusted_proxies(lake: CommandLine, tmp_path: Path) -> None:
    assert load(None, {"AUDITLAKE_INGEST__TRUSTED_PROXIES": '["::ffff:10.0.0.0/104", "2001:DB8::1"]'}).ingest.trusted_proxies == [
        "10.0.0.0/8",
        "2001:db8::1/128",
    ]
    config = tmp_path / "c.toml"
    config.write_text('[ingest]\nformat = "json"\ntrusted_proxies = ["10.0.0.0/8"]\n')
    line = b'{"@timestamp": "2015-05-19T10:00:00Z", "source.address": "1.2.3.4, 81.2.69.143, 10.0.0.1"}\n'
    lake("--config", config, "ingest", "-", stdin=line)
    labels = '{"forwarded_for":"1.2.3.4, 81.2.69.143, 10.0.0.1","peer_address":"10.0.0.1"}'
    assert lake.rows("SELECT source_address, source_ip, labels FROM requests") == [
        {"source_address": "81.2.69.143", "source_ip": "81.2.69.143", "labels": labels}
    ]
    config.write_text('[ingest]\nproxy_headers = ["forwarded", "forwarded"]\n')
    assert "given twice" in lake.try_("--config", config, "ingest", "-", "--format", "json", stdin=line).expect(2).said


def test_a_geo_database_that_is_missing_or_broken_is_a_warning(lake: CommandLine, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = root / "tests" / "data" / "geoip" / "test-data" / "MaxMind-DB-test-broken-search-tree-24.mmdb"
    for place in ("/none/city.mmdb", str(broken)):
        monkeypatch.setenv("AUDITLAKE_GEO__CITY", place)
        answer = lake.try_("ingest", "-", "--format", "combined", stdin=combined({"19/May/2015": 3}, user=Path(place).stem)).expect(0)
        assert answer.json["stored"] == 3
        assert any(place in warning for warning in answer.json["warnings"])
    assert lake.value("SELECT count(source_geo_country_iso_code) FROM requests") == 0

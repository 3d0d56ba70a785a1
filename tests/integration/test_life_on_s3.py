"""A whole life on a real S3 server with a versioned bucket: what the purge leaves, and what happens when the bucket does not play along."""

import socket
from pathlib import Path

import duckdb
import pytest

from auditlake.analyst import build_view
from auditlake.lake import open_lake
from auditlake.settings import load
from core import steps
from query import lake as view
from tests.commandline import Answer, CommandLine, combined, start
from tests.s3server import DELETION, Bucket

DAYS = {"17/May/2015": 50, "18/May/2015": 70, "19/May/2015": 30}
COUNTS = {"2015-05-17": 50, "2015-05-18": 70, "2015-05-19": 30}
EVERYTHING = "SELECT count(*)::VARCHAR || ' ' || bit_xor(hash(requests))::VARCHAR || ' ' || sum(hash(requests))::VARCHAR FROM requests"


def use(monkeypatch: pytest.MonkeyPatch, **archive: str) -> None:
    for name, value in archive.items():
        monkeypatch.setenv(f"AUDITLAKE_ARCHIVE__{name}", value)


@pytest.fixture
def hot(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> CommandLine:
    """Three hot days and one rejected line, of 20 May 2015; a copy of what is made once, since ingest needs no archive."""
    model = CommandLine(tmp_path_factory.getbasetemp() / "hot-model")
    if not model.data_dir.exists():
        log = tmp_path / "access.log"
        log.write_bytes(combined(DAYS) + b"no request at all\n")
        assert model.begin("2015-05-20T00:00:00Z")("ingest", log, "--format", "combined")["stored"] == 150
    return model.copy(tmp_path / "lake")


@pytest.fixture
def lake(hot: CommandLine, s3: Bucket, monkeypatch: pytest.MonkeyPatch) -> CommandLine:
    """The same; the archive will be in the bucket, below ``lake``."""
    use(monkeypatch, URL=f"s3://{s3.name}/lake", ENDPOINT=s3.endpoint, REGION=s3.region, PATH_STYLE="true")
    return hot


@pytest.fixture
def archived(lake: CommandLine) -> CommandLine:
    """The same on 21 June 2015, all three days in the bucket."""
    lake.advance("32d")
    assert lake("run", "roll")["figures"]["rows"] == 150
    return lake


def data_keys(s3: Bucket, day: str) -> list[str]:
    return sorted({key for kind, key, _ in s3.listing(f"lake/requests/data/event_day={day}/") if kind == "version"})


def plant_leftovers(s3: Bucket, key: str) -> None:
    """Beside a data file: an upload that was never ended, a Parquet file of no table, an older version, and a deleted file."""
    client, folder = s3.client(), key.rpartition("/")[0]
    upload = client.create_multipart_upload(Bucket=s3.name, Key=f"{folder}/r1-00007.parquet")["UploadId"]
    client.upload_part(Bucket=s3.name, Key=f"{folder}/r1-00007.parquet", UploadId=upload, PartNumber=1, Body=b"x" * 1000)
    body = client.get_object(Bucket=s3.name, Key=key)["Body"].read()
    client.put_object(Bucket=s3.name, Key=f"{folder}/orphan.parquet", Body=body)
    client.put_object(Bucket=s3.name, Key=key, Body=body)
    client.put_object(Bucket=s3.name, Key=f"{folder}/deleted.parquet", Body=body)
    client.delete_object(Bucket=s3.name, Key=f"{folder}/deleted.parquet")
    kinds = [kind for kind, _, _ in s3.listing(folder)]
    assert {kind: kinds.count(kind) for kind in kinds} == {"version": 4, "marker": 1, "upload": 1}


def test_the_whole_life(s3: Bucket, lake: CommandLine, tmp_path: Path) -> None:
    before = lake.value(EVERYTHING)
    assert s3.listing() == [], "hot data stays out of the bucket"
    lake.advance("32d")
    assert lake("run", "roll")["outcome"] == "done"
    assert [*lake.data_dir.rglob("requests/*.duckdb")] == []
    assert (lake.days(), lake.value(EVERYTHING)) == (COUNTS, before)
    assert lake("verify", "--full")["ok"]
    (tmp_path / "late").write_bytes(combined({"18/May/2015": 5}, user="late"))
    assert lake("ingest", tmp_path / "late", "--format", "combined")["stored"] == 5
    assert lake.days()["2015-05-18"] == 75, "a late day is archived and hot at once"
    assert lake("run", "roll")["figures"]["rows"] == 5
    everything = lake.value(EVERYTHING)
    assert lake("verify", "--full")["ok"]
    lake.advance("331d")  # 17 May 2016: the first day is a year old
    purged = lake("run", "purge")
    assert (purged["figures"]["rows"], purged["problems"]) == (51, []), "50 rows and the rejected line"
    assert s3.listing("lake/requests/data/event_day=2015-05-17/") == []
    assert lake.days() == {"2015-05-18": 75, "2015-05-19": 30}
    assert everything != lake.value(EVERYTHING)
    assert lake("verify", "--full")["ok"]
    lake.advance("2d")
    lake("run", "purge")
    assert s3.listing() == [], "no object, version, marker or upload"
    report = lake("verify", "--full")
    assert (report["ok"], report["residue"]) == (True, [])
    assert {day["day"]: day["purged"] for day in report["days"]} == {**COUNTS, "2015-05-18": 75}


def test_the_installed_program_reads_the_bucket(archived: CommandLine) -> None:
    answer = start("--data-dir", archived.data_dir, "query", "--format", "csv", "SELECT count(*) AS n FROM requests").expect(0)
    assert answer.out == b'"n"\n150\n'


@pytest.mark.parametrize("job", ["purge", "upkeep"])
def test_what_others_left_beside_the_data_goes_too(s3: Bucket, archived: CommandLine, job: str) -> None:
    before = archived.value(EVERYTHING)
    for day in COUNTS:
        (key,) = data_keys(s3, day)
        plant_leftovers(s3, key)
    residue = archived.try_("verify").expect(1).json["residue"]
    assert len(residue) == 5 * len(COUNTS), "verify lists what no table needs"
    if job == "purge":
        archived.advance("331d")
    assert archived("run", job)["problems"] == []
    live = COUNTS if job == "upkeep" else {day: n for day, n in COUNTS.items() if day != "2015-05-17"}
    entries = s3.listing("lake/requests/data/")
    assert [kind for kind, _, _ in entries] == ["version"] * len(live)
    assert archived.days() == live
    assert job == "purge" or archived.value(EVERYTHING) == before
    assert archived("verify", "--full")["ok"]


def test_a_live_file_that_somebody_deleted_comes_back(s3: Bucket, archived: CommandLine) -> None:
    """A delete marker hides the only copy of a day: upkeep must lift the marker, not destroy what it hides."""
    before = archived.value(EVERYTHING)
    (key,) = data_keys(s3, "2015-05-18")
    s3.client().delete_object(Bucket=s3.name, Key=key)
    assert not archived.try_("verify").expect(1).out.startswith(b'{"ok": true')
    archived("run", "upkeep")
    assert archived.value(EVERYTHING) == before
    assert archived("verify", "--full")["ok"]


def test_a_day_whose_file_was_deleted_is_purged_all_the_same(s3: Bucket, archived: CommandLine) -> None:
    (key,) = data_keys(s3, "2015-05-17")
    s3.client().delete_object(Bucket=s3.name, Key=key)
    archived.advance("331d")
    assert archived("run", "purge")["problems"] == []
    assert s3.listing("lake/requests/data/event_day=2015-05-17/") == []
    assert archived("verify", "--full")["ok"]


def assert_shouted(answer: Answer) -> None:
    result = answer.expect(1).json
    assert result["outcome"] == "failed"
    assert result["problems"]
    assert all("AccessDenied" in problem for problem in result["problems"] if "event_day=2015-05-17" in problem)
    assert "event_day=2015-05-17" in str(result["problems"])
    assert answer.said.startswith("auditlake: purge: ")
    assert "mend the cause" in answer.said


def assert_residue(s3: Bucket, lake: CommandLine) -> None:
    assert s3.listing("lake/requests/data/event_day=2015-05-17/")
    assert lake.events("ResidueFound")
    assert not [event for event in lake.events("SegmentPurged") if event["stream"] == "requests"]
    report = lake.try_("verify").expect(1).json
    assert not report["ok"]
    assert [line for line in report["residue"] if "event_day=2015-05-17" in line]
    assert lake.days() == {day: n for day, n in COUNTS.items() if day != "2015-05-17"}, "what could not be destroyed is not shown"


def assert_finished(s3: Bucket, lake: CommandLine) -> None:
    assert lake("run", "purge")["problems"] == []
    assert s3.listing("lake/requests/data/event_day=2015-05-17/") == []
    assert [event["rows"] for event in lake.events("SegmentPurged") if event["stream"] == "requests"] == [50]
    report = lake("verify", "--full")
    assert (report["ok"], report["residue"]) == (True, [])
    assert lake.days() == {day: n for day, n in COUNTS.items() if day != "2015-05-17"}


def test_deletion_is_denied(s3: Bucket, archived: CommandLine) -> None:
    archived.advance("331d")
    with s3.deletion_denied():
        assert_shouted(archived.try_("run", "purge"))
        assert_residue(s3, archived)
        assert_shouted(archived.try_("run", "purge"))
    assert_finished(s3, archived)


def test_permission_goes_in_the_middle_of_the_purge(s3: Bucket, archived: CommandLine) -> None:
    archived.advance("331d")
    seen: list[str] = []

    def deny_at_the_first_deletion(name: str) -> None:
        seen.append(name)
        if name == "objects.delete" and seen.count(name) == 1:
            s3.deny(*DELETION)

    steps.observe(deny_at_the_first_deletion)
    try:
        assert_shouted(archived.try_("run", "purge"))
    finally:
        steps.observe(None)
    assert "objects.delete" in seen
    assert_residue(s3, archived)
    upkeep = archived.try_("run", "upkeep").expect(1)
    assert upkeep.json["outcome"] == "failed", "upkeep says so as well"
    s3.allow()
    assert_finished(s3, archived)


def test_upkeep_may_end_what_a_denied_purge_began(s3: Bucket, archived: CommandLine) -> None:
    archived.advance("331d")
    with s3.deletion_denied():
        archived.try_("run", "purge").expect(1)
    archived("run", "upkeep")
    archived.try_("verify").expect(1)  # destroyed, and not yet noted as purged
    assert_finished(s3, archived)


# ------------------------------------------------------------------------------------------------- a bucket that is away


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


FAULTS = {
    "the endpoint is down": lambda: {"AUDITLAKE_ARCHIVE__ENDPOINT": f"http://127.0.0.1:{closed_port()}"},
    "the secret is wrong": lambda: {"AWS_SECRET_ACCESS_KEY": "not-the-secret"},
    "the user is unknown": lambda: {"AWS_ACCESS_KEY_ID": "nobody"},
    "the bucket is missing": lambda: {"AUDITLAKE_ARCHIVE__URL": "s3://no-such-bucket/lake"},
}
SERVER_FAULTS = [fault for fault in FAULTS if "bucket" not in fault]


def assert_one_line_error(answer: Answer) -> None:
    answer.expect(1)
    assert answer.said.startswith("auditlake: ")
    assert len(answer.err.strip().splitlines()) == 1
    assert "writersecret" not in answer.err
    assert "not-the-secret" not in answer.err


def test_while_the_bucket_is_away_hot_data_stays_and_ingest_goes_on(
    lake: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, files = lake.value(EVERYTHING), sorted(lake.data_dir.rglob("*.duckdb"))
    lake.advance("32d")
    for number, fault in enumerate(FAULTS, start=1):
        with monkeypatch.context() as away:
            for name, value in FAULTS[fault]().items():
                away.setenv(name, value)
            assert_one_line_error(lake.try_("run", "roll"))
            assert sorted(lake.data_dir.rglob("2015-05-*.duckdb")) == files, fault
            more = tmp_path / f"more{number}"
            more.write_bytes(combined({"20/Jun/2015": 7}, user=f"u{number}"))
            assert lake("ingest", more, "--format", "combined")["stored"] == 7
            assert lake.days() == {**COUNTS, "2015-06-20": 7 * number}, "hot data can be queried without the bucket"
    assert lake("run", "roll")["figures"]["rows"] == 150
    assert lake.days() == {**COUNTS, "2015-06-20": 7 * len(FAULTS)}
    assert lake.value(f"{EVERYTHING} WHERE event_day < '2015-06-01'") == before
    assert lake("verify", "--full")["ok"]


def test_a_purge_that_cannot_reach_the_bucket_is_finished_later(s3: Bucket, archived: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    archived.advance("331d")
    for fault in SERVER_FAULTS:
        with monkeypatch.context() as away:
            for name, value in FAULTS[fault]().items():
                away.setenv(name, value)
            for command in (("run", "purge"), ("verify",), ("run", "upkeep")):
                assert_one_line_error(archived.try_(*command))
    assert not [event for event in archived.events("SegmentPurged") if event["stream"] == "requests"]
    assert_finished(s3, archived)


def test_a_query_that_cannot_reach_the_bucket_says_so(archived: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    for fault in SERVER_FAULTS:
        with monkeypatch.context() as away:
            for name, value in FAULTS[fault]().items():
                away.setenv(name, value)
            assert_one_line_error(archived.try_("query", "SELECT count(*) FROM requests"))
    assert archived.days() == COUNTS


def test_credentials_are_asked_for_in_one_line(archived: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    for command in (("run", "roll"), ("run", "purge"), ("verify",)):
        answer = archived.try_(*command)
        assert_one_line_error(answer)
        assert "no AWS credentials" in answer.said


# ------------------------------------------------------------------------------------------------------ where it may lie


PLACES = {"s3://{}": "", "s3://{}/": "", "s3://{}/lake/": "lake/", "s3://{}/a/b=c/lake": "a/b=c/lake/", "s3://{}/it's!(a)*": "it's!(a)*/"}


@pytest.mark.parametrize(("url", "prefix"), PLACES.items())
def test_places_in_a_bucket(s3: Bucket, lake: CommandLine, monkeypatch: pytest.MonkeyPatch, url: str, prefix: str) -> None:
    use(monkeypatch, URL=url.format(s3.name))
    s3.client().put_object(Bucket=s3.name, Key=f"{prefix}requests-of-others/x.parquet", Body=b"not ours")
    lake.advance("32d")
    lake("run", "roll")
    ours = [key for _, key, _ in s3.listing(f"{prefix}requests/")]
    assert len(ours) == len(s3.listing()) - 1
    assert not [key for key in ours if "//" in key]
    assert lake.days() == COUNTS
    other = url.format(s3.name)
    use(monkeypatch, URL=other.rstrip("/") if other.endswith("/") else f"{other}/")
    assert lake("verify", "--full")["ok"], "with or without the final slash it is the same place"
    lake.advance("333d")
    assert lake("run", "purge")["problems"] == []
    assert [key for _, key, _ in s3.listing()] == [f"{prefix}requests-of-others/x.parquet"], "a neighbour's object stays"


@pytest.mark.parametrize("slash", ["", "/"])
def test_a_folder_elsewhere(hot: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, slash: str) -> None:
    folder = tmp_path / "far away" / "archive"
    use(monkeypatch, URL=f"file://{folder}{slash}")
    before = hot.value(EVERYTHING)
    hot.advance("32d")
    hot("run", "roll")
    assert len([*folder.rglob("*.parquet")]) == 3
    assert not (hot.data_dir / "archive").exists()
    assert (hot.days(), hot.value(EVERYTHING)) == (COUNTS, before)
    assert hot("verify", "--full")["ok"]
    hot.advance("333d")
    hot("run", "purge")
    assert [path for path in folder.rglob("*") if path.is_file()] == []


def test_another_bucket_in_the_settings_destroys_nothing_and_proves_nothing(
    s3: Bucket, archived: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A listing of the wrong place is empty: it must never be taken for proof."""
    archived.advance("331d")
    before = s3.listing()
    with monkeypatch.context() as wrong:
        use(wrong, URL=f"s3://{s3.server.new_bucket().name}/lake")
        for command in (("run", "purge"), ("run", "upkeep"), ("verify",)):
            answer = archived.try_(*command).expect(2)
            assert f"lies at s3://{s3.name}/lake/requests" in answer.said
    assert s3.listing() == before
    assert not [event for event in archived.events("SegmentPurged") if event["stream"] == "requests"]
    assert_finished(s3, archived)


def test_a_folder_under_another_name_loses_nothing(hot: CommandLine, tmp_path: Path) -> None:
    """Through a link every file of the archive has another URL: none of them may be taken for one that no table needs."""
    hot.advance("32d")
    hot("run", "roll")
    before = hot.value(EVERYTHING)
    (tmp_path / "link").symlink_to(hot.data_dir)
    assert "lies at" in CommandLine(tmp_path / "link").try_("run", "upkeep").expect(2).said
    assert hot.value(EVERYTHING) == before
    assert hot("verify", "--full")["ok"]


# ------------------------------------------------------------------------------------------------------------- the secret


STATEMENTS = (
    "SELECT * FROM duckdb_secrets()",
    "SELECT * FROM which_secret('s3://x/lake/requests/data/x', 's3')",
    "SELECT current_setting('s3_secret_access_key')",
    "SELECT getenv('AWS_SECRET_ACCESS_KEY')",
    "FROM 's3://{bucket}/lake/requests/data/*/*.parquet'",
    "SELECT * FROM read_parquet('s3://{bucket}/lake/requests/data/*/*.parquet')",
    "SELECT * FROM iceberg_scan('s3://{bucket}/lake/requests')",
    "SELECT * FROM read_text('s3://{bucket}/other')",
    "COPY (SELECT 1) TO 's3://{bucket}/lake/requests/data/x.parquet'",
    "CREATE SECRET x (TYPE s3, KEY_ID 'a', SECRET 'b')",
)


def test_statements_reach_neither_the_secret_nor_the_bucket(s3: Bucket, archived: CommandLine) -> None:
    before = s3.listing()
    for sql in STATEMENTS:
        answer = archived.try_("query", sql.format(bucket=s3.name)).expect(2)
        assert len(answer.err.strip().splitlines()) == 1
        assert "writersecret" not in answer.err + answer.out.decode()
    assert s3.listing() == before


def test_the_connection_itself_is_shut_to_the_rest_of_the_bucket(s3: Bucket, archived: CommandLine) -> None:
    s3.client().put_object(Bucket=s3.name, Key="lake/requests-of-others/private.txt", Body=b"private")
    with open_lake(archived.data_dir, load(None)) as lake:
        connection = view.open_lake(build_view(lake))
    try:
        assert connection.execute("SELECT count(*) FROM requests").fetchall() == [(150,)]
        with pytest.raises(duckdb.PermissionException):
            connection.execute(f"SELECT content FROM read_text('s3://{s3.name}/lake/requests-of-others/private.txt')").fetchall()
        assert "writersecret" not in str(connection.execute("FROM duckdb_secrets()").fetchall())
        with pytest.raises(duckdb.Error, match=r"(?i)unredacted|locked"):
            connection.execute("FROM duckdb_secrets(redact=false)").fetchall()
    finally:
        connection.close()


def test_hot_data_needs_no_credentials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the bucket is asked for before something of the bucket is needed."""
    monkeypatch.setenv("AUDITLAKE_ARCHIVE__URL", "s3://some-bucket/lake")
    lake = CommandLine(tmp_path / "data")
    lake.begin("2015-05-20T00:00:00Z")
    (tmp_path / "access.log").write_bytes(combined({"17/May/2015": 5}))
    assert lake("ingest", tmp_path / "access.log")["stored"] == 5
    assert lake.rows("SELECT count(*) AS n FROM requests") == [{"n": 5}]
    lake.advance("32d")
    assert "no AWS credentials were found" in lake.try_("run", "roll").expect(1).said

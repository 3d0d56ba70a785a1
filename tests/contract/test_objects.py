"""One contract for every object store: it lists everything and deletes it for good."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from core.errors import AuditlakeError
from storage.objects import LocalObjects, S3Objects, StoredObject, path_to_url, resolve_s3
from tests.contract.places import LocalPlace, Place, S3Place, open_place, open_s3
from tests.s3server import ADMIN, Bucket

NOBODY = 65_534


@pytest.fixture(params=["local", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    return open_place(request.param, request, tmp_path)


@pytest.fixture
def bucket(request: pytest.FixtureRequest) -> S3Place:
    return open_s3(request)


def names(place: Place, prefix: str) -> list[str]:
    return sorted(entry.key.removeprefix(place.location) for entry in place.objects.entries(f"{place.location}{prefix}"))


# ------------------------------------------------------------------------------------------------------------- both stores


def test_everything_below_the_prefix_is_listed_and_nothing_else(place: Place) -> None:
    for name in ("/a/b/1", "/a/b/deep/er/2", "/a/b.txt", "/a/bc/3", "/b/4"):
        place.put(place.location + name, b"12345")
    assert names(place, "/a/b/") == ["/a/b/1", "/a/b/deep/er/2"]
    assert names(place, "/a/b") == ["/a/b.txt", "/a/b/1", "/a/b/deep/er/2", "/a/bc/3"]
    assert names(place, "/") == ["/a/b.txt", "/a/b/1", "/a/b/deep/er/2", "/a/bc/3", "/b/4"]
    assert names(place, "/absent/") == []
    (entry,) = place.objects.entries(f"{place.location}/b/")
    assert (entry.kind, entry.size, entry.latest) == ("object", 5, True)


ODD_NAMES = ["with space", "per%20cent", "a+b", "a=b", "ü\N{SNOWMAN}", "a#b", "a?b", "a&b", "'quoted'", "a;b", ".hidden", "<tag>"]


def test_objects_of_odd_names_are_listed_as_they_are_and_deleted(place: Place) -> None:
    for name in ODD_NAMES:
        place.put(f"{place.location}/odd/{name}", b"x")
    assert names(place, "/odd/") == sorted(f"/odd/{name}" for name in ODD_NAMES)
    assert place.objects.delete(place.objects.entries(f"{place.location}/odd/")) == []
    assert place.left() == []


def test_what_is_deleted_is_gone_and_the_rest_stays(place: Place) -> None:
    for name in ("/a/1", "/a/2", "/b/3"):
        place.put(place.location + name, b"x")
    assert place.objects.delete(place.objects.entries(f"{place.location}/a/")) == []
    assert names(place, "/") == ["/b/3"]
    assert place.get(f"{place.location}/b/3") == b"x"


def test_deleting_again_is_no_failure(place: Place) -> None:
    place.put(f"{place.location}/a/1", b"x")
    entries = list(place.objects.entries(place.location))
    assert place.objects.delete(entries) == []
    assert place.objects.delete(entries) == []
    assert place.objects.delete([]) == []
    assert place.left() == []


def test_an_object_written_over_is_deleted_with_all_it_was(place: Place) -> None:
    for content in (b"1", b"22", b"333"):
        place.put(f"{place.location}/a/1", content)
    latest = [entry for entry in place.objects.entries(place.location) if entry.latest]
    assert [entry.size for entry in latest] == [3]
    assert place.objects.delete(place.objects.entries(place.location)) == []
    assert place.left() == []


# ------------------------------------------------------------------------------------------------------------------ local


@pytest.fixture
def folder(tmp_path: Path) -> LocalPlace:
    (tmp_path / "archive").mkdir()
    return LocalPlace(tmp_path / "archive")


def test_empty_folders_go_with_their_last_file_but_the_root_stays(folder: LocalPlace) -> None:
    folder.put(f"{folder.location}/a/b/c/1", b"x")
    folder.put(f"{folder.location}/a/2", b"x")
    folder.objects.delete(folder.objects.entries(f"{folder.location}/a/b/"))
    assert folder.left() == ["a", "a/2"]
    folder.objects.delete(folder.objects.entries(folder.location))
    assert folder.left() == []
    assert folder.root.is_dir()


def test_files_of_names_that_no_text_should_have_are_listed_and_deleted(folder: LocalPlace) -> None:
    for name in (b"a\\b", b"two\nlines", b"not-utf8-\xff"):
        Path(os.fsdecode(bytes(folder.root) + b"/" + name)).write_bytes(b"x")
    entries = list(folder.objects.entries(folder.location))
    assert len(entries) == 3
    assert folder.objects.delete(entries) == []
    assert folder.left() == []


def test_links_are_listed_and_removed_and_never_followed(folder: LocalPlace, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "precious").write_text("x")
    (folder.root / "folder").symlink_to(tmp_path / "outside")
    (folder.root / "file").symlink_to(tmp_path / "outside" / "precious")
    (folder.root / "dangling").symlink_to(tmp_path / "nowhere")
    assert names(folder, "/") == ["/dangling", "/file", "/folder"]
    assert folder.objects.delete(folder.objects.entries(folder.location)) == []
    assert folder.left() == []
    assert (tmp_path / "outside" / "precious").read_text() == "x"


@pytest.mark.parametrize("key", ["{outside}/precious", "{root}/../outside/precious", "{root}-other/precious"])
def test_nothing_outside_the_root_is_deleted(folder: LocalPlace, tmp_path: Path, key: str) -> None:
    for name in ("outside", "archive-other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "precious").write_text("x")
    folder.put(f"{folder.location}/a", b"x")
    url = "file://" + key.format(root=folder.root, outside=tmp_path / "outside")
    (failure,) = folder.objects.delete([StoredObject(url), StoredObject(f"{folder.location}/a")])
    assert failure.object.key == url
    assert failure.reason == f"it lies outside {folder.root}"
    assert all((tmp_path / name / "precious").exists() for name in ("outside", "archive-other"))
    assert folder.left() == []


def test_a_prefix_outside_the_root_lists_nothing(folder: LocalPlace, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "precious").write_text("x")
    for prefix in (f"file://{tmp_path}/outside/", f"{folder.location}/../outside/"):
        assert list(folder.objects.entries(prefix)) == []


def test_what_cannot_be_deleted_comes_back_and_keeps_no_other_from_it(folder: LocalPlace) -> None:
    folder.put(f"{folder.location}/a/1", b"x")
    folder.put(f"{folder.location}/b/2", b"x")
    stubborn, other = StoredObject(f"{folder.location}/a"), StoredObject(f"{folder.location}/b/2")
    (failure,) = folder.objects.delete([stubborn, other])
    assert failure.object == stubborn
    assert failure.reason
    assert folder.left() == ["a", "a/1"]


@contextmanager
def shut(folder: Path) -> Iterator[None]:
    """Within it, this process may not read the folder; root becomes nobody for as long."""
    folder.chmod(0)
    user = os.geteuid()
    if user == 0:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(user)
        folder.chmod(0o700)


def test_a_folder_that_cannot_be_read_is_not_taken_for_empty(folder: LocalPlace) -> None:
    folder.put(f"{folder.location}/a/1", b"x")
    with (
        shut(folder.root / "a"),
        pytest.raises(AuditlakeError, match=r"folder .* cannot be listed: Permission denied; check its permissions"),
    ):
        list(folder.objects.entries(folder.location + "/"))


def test_a_root_that_is_absent_is_empty(tmp_path: Path) -> None:
    store = LocalObjects(tmp_path / "absent")
    assert list(store.entries(path_to_url(tmp_path / "absent") + "/")) == []
    assert store.delete([StoredObject(path_to_url(tmp_path / "absent" / "x"))]) == []


# --------------------------------------------------------------------------------------------------------------------- S3


def test_every_version_marker_and_upload_is_listed_and_removed(bucket: S3Place) -> None:
    url = f"{bucket.location}/a/1"
    bucket.put(url, b"first")
    bucket.put(url, b"second")
    bucket.hide(url)
    bucket.begin_upload(f"{bucket.location}/a/2")
    bucket.put(f"{bucket.location}-elsewhere", b"x")
    entries = list(bucket.objects.entries(f"{bucket.location}/"))
    assert sorted((entry.kind, entry.latest) for entry in entries) == [
        ("marker", True),
        ("object", False),
        ("object", False),
        ("upload", True),
    ]
    assert len({entry.version for entry in entries}) == 4
    assert bucket.objects.delete(entries) == []
    assert bucket.left() == ["version archive-elsewhere"]
    assert bucket.objects.delete(entries) == []
    assert bucket.left() == ["version archive-elsewhere"]


def test_deleting_a_marker_alone_brings_the_object_back(bucket: S3Place) -> None:
    url = f"{bucket.location}/a/1"
    bucket.put(url, b"first")
    bucket.hide(url)
    marker = [entry for entry in bucket.objects.entries(bucket.location) if entry.kind == "marker"]
    assert bucket.objects.delete(marker) == []
    assert bucket.get(url) == b"first"


def test_without_permission_every_failure_is_told_and_the_next_try_succeeds(bucket: S3Place) -> None:
    for number in range(3):
        bucket.put(f"{bucket.location}/a/{number}", b"x")
    entries = list(bucket.objects.entries(bucket.location))
    with bucket.bucket.deletion_denied():
        failures = bucket.objects.delete(entries)
    assert sorted(failure.object for failure in failures) == sorted(entries)
    assert {failure.reason for failure in failures} == {"AccessDenied"}
    assert list(bucket.objects.entries(bucket.location)) == entries
    assert bucket.objects.delete(entries) == []
    assert bucket.left() == []


def test_more_objects_than_fit_a_page_or_a_request(bucket: S3Place) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: bucket.put(f"{bucket.location}/many/{number:04d}", b""), range(1003)))
    entries = list(bucket.objects.entries(f"{bucket.location}/many/"))
    assert len(entries) == 1003
    assert bucket.objects.delete(entries) == []
    assert bucket.left() == []


def test_a_bucket_without_versions_is_emptied_too(s3: Bucket) -> None:
    name = f"{s3.name[:40]}-plain"
    s3.client(ADMIN).create_bucket(Bucket=name)
    store = S3Objects(name, resolve_s3(s3.endpoint, s3.region, path_style=True))
    s3.client().put_object(Bucket=name, Key="a/1", Body=b"x")
    entries = list(store.entries(f"s3://{name}/a/"))
    assert [(entry.key, entry.kind) for entry in entries] == [(f"s3://{name}/a/1", "object")]
    assert store.delete(entries) == []
    assert list(store.entries(f"s3://{name}/")) == []


def test_a_bucket_that_is_absent_cannot_be_listed(s3: Bucket) -> None:
    access = resolve_s3(s3.endpoint, s3.region, path_style=True)
    with pytest.raises(AuditlakeError, match=r"bucket no-such-bucket cannot be listed: .*; check endpoint, credentials"):
        list(S3Objects("no-such-bucket", access).entries("s3://no-such-bucket/"))


def test_a_server_that_is_out_of_reach_fails_each_deletion(s3: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("storage.objects._ATTEMPTS", 1)
    store = S3Objects(s3.name, resolve_s3("http://127.0.0.1:9", s3.region, path_style=True))
    gone = [StoredObject(f"s3://{s3.name}/a", "v1"), StoredObject(f"s3://{s3.name}/b", "u1", "upload")]
    assert sorted(failure.object for failure in store.delete(gone)) == gone
    with pytest.raises(AuditlakeError, match=f"bucket {s3.name} cannot be listed: Could not connect"):
        list(store.entries(f"s3://{s3.name}/"))

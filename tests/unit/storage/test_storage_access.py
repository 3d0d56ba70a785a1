"""Where objects are, and who may reach them."""

from pathlib import Path

import pytest

from core.errors import AuditlakeError
from storage.objects import S3Access, path_to_url, resolve_s3, split_s3, url_to_path


def test_without_credentials_the_way_out_is_named() -> None:
    with pytest.raises(AuditlakeError, match="no AWS credentials were found; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"):
        resolve_s3("", "", path_style=False)


def test_an_unknown_profile_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "nobody-knows-it")
    with pytest.raises(AuditlakeError, match=r"AWS credentials cannot be had: .*nobody-knows-it.*; check the AWS profile or role"):
        resolve_s3("", "", path_style=False)


def test_half_of_a_key_pair_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "id")
    with pytest.raises(AuditlakeError, match="AWS_SECRET_ACCESS_KEY"):
        resolve_s3("", "", path_style=False)


def test_credentials_come_from_the_environment_and_are_not_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "id-7f3a")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret-9c1d")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "token-5e2b")
    access = resolve_s3("http://127.0.0.1:1", "eu-north-1", path_style=True)
    assert access == S3Access("http://127.0.0.1:1", "eu-north-1", True, "id-7f3a", "secret-9c1d", "token-5e2b")
    assert not any(secret in f"{access!r}{access}" for secret in ("id-7f3a", "secret-9c1d", "token-5e2b"))


@pytest.mark.parametrize(
    ("given", "environment", "region"), [("eu-north-1", "us-west-2", "eu-north-1"), ("", "us-west-2", "us-west-2"), ("", "", "us-east-1")]
)
def test_the_region_is_the_given_else_the_environments_else_the_first(
    monkeypatch: pytest.MonkeyPatch, given: str, environment: str, region: str
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "id")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    if environment:
        monkeypatch.setenv("AWS_DEFAULT_REGION", environment)
    assert resolve_s3("", given, path_style=False).region == region


def test_urls_and_paths_are_each_others_inverse() -> None:
    path = Path("/srv/lake with space/ü#%20?")
    assert url_to_path(path_to_url(path)) == path


@pytest.mark.parametrize(
    ("url", "parts"),
    [
        ("s3://bucket", ("bucket", "")),
        ("s3://bucket/", ("bucket", "")),
        ("s3://bucket/a/b/", ("bucket", "a/b")),
        ("s3://b.c/a", ("b.c", "a")),
    ],
)
def test_an_s3_url_is_bucket_and_prefix(url: str, parts: tuple[str, str]) -> None:
    assert split_s3(url) == parts

"""S3 server access logs. Lines of AWS' documentation, as lnav's src/formats/s3_log.json has them too."""

import pytest

from tests.unit.ingest.line_rows import outcomes, reason, row, utc

OWNER = "79a59df900b949e55d96a1e698fbacedfd6e09d98eacf8f8d5218e7cd47ef2be"
HOST_ID = "s9lzHYrFp76ZVxRcpX9+5cjAnEH2ROuNkd2BHfIa6UkFVdtjf5mKR3/eTPFvsiP/XV/VLi31234="
ARN = "arn:aws:s3:us-west-1:123456789012:accesspoint/example-AP"
BASE = (
    f"{OWNER} awsexamplebucket1 [06/Feb/2019:00:00:38 +0000] 192.0.2.3 {OWNER} 3E57427F3EXAMPLE REST.GET.VERSIONING photos/a%2520b.jpg "
    '"GET /awsexamplebucket1?versioning HTTP/1.1" 403 AccessDenied 113 2662992 70 10 "http://example.com/" "S3Console/0.4"'
)
VERSIONS = (
    " 3HL4kqtJvjVBH40Nrjfkd",
    f" {HOST_ID} SigV4 ECDHE-RSA-AES128-GCM-SHA256 AuthHeader awsexamplebucket1.s3.us-west-1.amazonaws.com TLSv1.2",
    f" {ARN}",
    " Yes",
    " us-east-1",
)
COLUMNS = {
    "event_time": utc("2019-02-06T00:00:38"),
    "source_address": "192.0.2.3",
    "user_name": OWNER,
    "http_request_id": "3E57427F3EXAMPLE",
    "http_request_method": "GET",
    "url_original": "/awsexamplebucket1?versioning",
    "http_version": "1.1",
    "http_response_status_code": 403,
    "http_response_body_bytes": 113,
    "event_duration": 70_000_000,
    "http_request_referrer": "http://example.com/",
    "user_agent_original": "S3Console/0.4",
}
LABELS = {
    "bucket_owner": OWNER,
    "bucket": "awsexamplebucket1",
    "operation": "REST.GET.VERSIONING",
    "object": "photos/a%2520b.jpg",
    "error": "AccessDenied",
    "object_size": "2662992",
    "turn_around_time": "10",
}
MORE: tuple[dict[str, str], ...] = (
    {"version_id": "3HL4kqtJvjVBH40Nrjfkd"},
    {
        "host_id": HOST_ID,
        "signed_with": "SigV4",
        "cipher_suite": "ECDHE-RSA-AES128-GCM-SHA256",
        "authenticated_by": "AuthHeader",
        "tls_version": "TLSv1.2",
    },
    {"access_point_arn": ARN},
    {"acl_required": "Yes"},
    {"source_region": "us-east-1"},
)


@pytest.mark.parametrize("count", range(len(VERSIONS) + 1))
def test_every_version_gives_all_its_fields(count: int) -> None:
    labels = LABELS.copy()
    for more in MORE[:count]:
        labels |= more
    host = {"url_domain": "awsexamplebucket1.s3.us-west-1.amazonaws.com"} if count > 1 else {}
    assert row("s3_access", BASE + "".join(VERSIONS[:count])) == (COLUMNS | host, labels)


def test_what_is_yet_to_come_is_trailing() -> None:
    assert row("s3_access", BASE + "".join(VERSIONS) + " new x")[1]["trailing"] == "new x"


def test_a_website_request_of_2012() -> None:
    line = (
        "b659b576cff1e15e4c0313ff8930fba9f53e6794567f5c60dab3abf2f8dfb6cc www.example.com [10/Feb/2012:16:42:07 -0500] 1.2.3.4 "
        'arn:aws:iam::179580289999:user/phillip.boss EB3502676500C6BE WEBSITE.GET.OBJECT index "GET /index HTTP/1.1" 200 - 368 368 10 9 '
        '"-" "Mozilla/5.0 (X11; Linux x86_64)"'
    )
    assert row("s3_access", line) == (
        {
            "event_time": utc("2012-02-10T21:42:07"),
            "source_address": "1.2.3.4",
            "user_name": "arn:aws:iam::179580289999:user/phillip.boss",
            "http_request_id": "EB3502676500C6BE",
            "http_request_method": "GET",
            "url_original": "/index",
            "http_version": "1.1",
            "http_response_status_code": 200,
            "http_response_body_bytes": 368,
            "event_duration": 10_000_000,
            "user_agent_original": "Mozilla/5.0 (X11; Linux x86_64)",
        },
        {
            "bucket_owner": "b659b576cff1e15e4c0313ff8930fba9f53e6794567f5c60dab3abf2f8dfb6cc",
            "bucket": "www.example.com",
            "operation": "WEBSITE.GET.OBJECT",
            "object": "index",
            "object_size": "368",
            "turn_around_time": "9",
        },
    )


@pytest.mark.parametrize("request_line", ['"-"', "-"])
@pytest.mark.parametrize("end", ["", "".join(VERSIONS[:1]), " - - - - - - -", " - - - - - - - - -", " - - - - - - - - - -"])
def test_a_lifecycle_rule_has_no_request(request_line: str, end: str) -> None:
    head = f"{OWNER} bucket [06/Feb/2019:00:00:38 +0000] - AmazonS3 3E57427F3EXAMPLE S3.EXPIRE.OBJECT key"
    line = f'{head} {request_line} - - - 1024 - - "-" "-"'
    found, labels = row("s3_access", line + end)
    assert found == {"event_time": utc("2019-02-06T00:00:38"), "user_name": "AmazonS3", "http_request_id": "3E57427F3EXAMPLE"}
    labels.pop("version_id", None)
    assert labels == {"bucket_owner": OWNER, "bucket": "bucket", "operation": "S3.EXPIRE.OBJECT", "object": "key", "object_size": "1024"}


@pytest.mark.parametrize("count", [0, 1, len(VERSIONS)])
def test_unescaped_quotes_within_the_agent(count: int) -> None:
    line = BASE.replace("S3Console/0.4", 'a "b" c') + "".join(VERSIONS[:count])
    found, labels = row("s3_access", line)
    assert found["user_agent_original"] == 'a "b" c'
    assert "trailing" not in labels


def test_unescaped_quotes_within_the_agent_and_fields_to_come() -> None:
    found, labels = row("s3_access", BASE.replace("S3Console/0.4", 'a "b" c') + "".join(VERSIONS) + " new x")
    assert (found["user_agent_original"], labels["source_region"], labels["trailing"]) == ('a "b" c', "us-east-1", "new x")


def test_a_host_header_with_a_port() -> None:
    found, _ = row("s3_access", BASE + "".join(VERSIONS).replace(".amazonaws.com", ".amazonaws.com:8443"))
    assert (found["url_domain"], found["url_port"]) == ("awsexamplebucket1.s3.us-west-1.amazonaws.com", 8443)


def test_versions_may_be_mixed() -> None:
    lines = [BASE + "".join(VERSIONS[:count]) for count in (5, 2, 0, 5, 3)]
    assert outcomes("s3_access", *lines, "bad") == [True] * 5 + [False]


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("06/Feb", "30/Feb", "no such time"),
        (" 403 ", " 4030 ", "status is out of range"),
        (" 70 ", " 7x ", "total time is not a duration"),
        ("[06/Feb/2019:00:00:38 +0000]", "-", "no time in brackets"),
        (" AccessDenied", "", "no status after the request"),
    ],
)
def test_rejected_with_a_reason(old: str, new: str, why: str) -> None:
    assert reason("s3_access", BASE.replace(old, new)) == why

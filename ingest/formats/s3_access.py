"""Server access logs of Amazon S3: ``s3_access``.

What it promises beyond :mod:`ingest.formats.shapes`:

- All versions of the log are read: fields were added at the end over the years, and what may yet be added goes to ``labels``
  as ``trailing``.
- ``user_name`` is the requester: a canonical user id or the ARN of who signed the request.
- ``http_response_body_bytes`` is bytes sent, without HTTP's own; ``-`` is null, though the documentation says it means none.
- ``event_duration`` is the total time; the host header is ``url_domain`` and ``url_port``.
- A request may be ``-`` with or without quotes: lifecycle rules have none.
- The key is the label ``object``: under a name with the word *key* it would be redacted. Error code, signature version and
  authentication type are ``error``, ``signed_with`` and ``authenticated_by``, which redaction passes over faster.

Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/LogFormat.html.
"""

from ingest.formats.access import ADDRESS, AGENT, REFERRER, TIME
from ingest.formats.proxy_readers import ProxyRequest, Status, joined, label, separated
from ingest.formats.readers import Duration, HostPort, Integer, Text
from ingest.formats.shapes import LineFormat, Place, Shape

__all__ = ["S3_ACCESS"]

_MILLISECOND = 1_000_000
_HEAD = (
    *separated([label("bucket_owner"), label("bucket")], b" "),
    *(b" [", TIME, b"] "),
    *separated([ADDRESS, Place("requester", "requester", reader=Text("user_name"))], b" "),
    b" ",
    *separated([Place("request_id", "request id", reader=Text("http_request_id")), label("operation"), label("object")], b" "),
)
_REQUEST = (b' "', Place("request", "request", reader=ProxyRequest()), b'" ')
_NO_REQUEST = (b" - ",)
_TAIL = (
    *separated([Place("status", "status", numeric=True, reader=Status()), label("error")], b" "),
    *(b" ", Place("bytes_sent", "size", numeric=True, reader=Integer("http_response_body_bytes"))),
    *(b" ", label("object_size")),
    *(b" ", Place("total_time", "total time", numeric=True, reader=Duration(_MILLISECOND))),
    *(b" ", label("turn_around_time")),
    *(b' "', REFERRER, b'" "', AGENT, b'"'),
)
_VERSIONS = (
    (b" ", label("version_id")),
    (
        b" ",
        *separated([*map(label, ("host_id", "signed_with", "cipher_suite", "authenticated_by"))], b" "),
        *(b" ", Place("host_header", "host header", reader=HostPort("url_domain", "url_port", brackets=True))),
        *(b" ", label("tls_version")),
    ),
    (b" ", label("access_point_arn")),
    (b" ", label("acl_required")),
    (b" ", label("source_region")),
)


def _shape(count: int, rest: str | None = None, request: tuple[bytes | Place, ...] = _REQUEST) -> Shape:
    more = (part for version in _VERSIONS[:count] for part in version)
    return Shape(joined(*_HEAD, *request, *_TAIL, *more), rest)


_OWNER = "79a59df900b949e55d96a1e698fbacedfd6e09d98eacf8f8d5218e7cd47ef2be"

S3_ACCESS = LineFormat(
    "s3_access",
    "Amazon S3 server access log, all its versions",
    "https://docs.aws.amazon.com/AmazonS3/latest/userguide/LogFormat.html",
    f"{_OWNER} amzn-s3-demo-bucket1 [10/Oct/2000:20:55:36 +0000] 127.0.0.1 {_OWNER} 3E57427F3EXAMPLE REST.GET.OBJECT apache_pb.gif "
    '"GET /apache_pb.gif HTTP/1.0" 200 - 2326 2326 7 5 "http://www.example.com/start.html" "Mozilla/4.08 [en] (Win98; I ;Nav)" - '
    "s9lzHYrFp76ZVxRcpX9+5cjAnEH2ROuNkd2BHfIa6UkFVdtjf5mKR3/eTPFvsiP/XV/VLi31234= SigV4 ECDHE-RSA-AES128-GCM-SHA256 AuthHeader "
    "amzn-s3-demo-bucket1.s3.us-west-1.amazonaws.com TLSv1.2 - - us-east-1",
    (
        _shape(len(_VERSIONS), "trailing"),
        *(_shape(count) for count in range(len(_VERSIONS) - 1, -1, -1)),
        _shape(len(_VERSIONS), "trailing", _NO_REQUEST),
        *(_shape(count, None, _NO_REQUEST) for count in range(len(_VERSIONS) - 1, -1, -1)),
    ),
)

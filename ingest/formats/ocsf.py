"""HTTP Activity of the Open Cybersecurity Schema Framework: class 4002.

What it promises beyond :mod:`ingest.formats.documents`:

- ``time`` is milliseconds since 1970; ``time_dt`` of the profile Date/Time serves where it is absent.
- The client is ``src_endpoint``: its ``ip``, else its ``hostname``.
- ``duration`` counts before ``http_response.latency``; both are milliseconds. ``body_length`` counts before ``length`` for the
  response; of the request only ``body_length`` is its body.
- ``x_forwarded_for`` is a list. Headers in ``http_request.http_headers`` stand in for fields that are absent.

Source: https://schema.ocsf.io/1.3.0/classes/http_activity.
"""

from ingest.formats import fills
from ingest.formats.document_tables import PORT, Status, named, texts
from ingest.formats.documents import DocumentFormat, Pairs, Place

__all__ = ["OCSF"]

_HEADERS = "http_request.http_headers"

OCSF = DocumentFormat(
    name="ocsf",
    description="OCSF HTTP Activity (class 4002)",
    source="https://schema.ocsf.io/1.3.0/classes/http_activity",
    sample=(
        '{"class_uid":4002,"class_name":"HTTP Activity","category_uid":4,"activity_id":3,"type_uid":400203,"severity_id":1,'
        '"time":971211336000,"metadata":{"version":"1.3.0","product":{"name":"Web"}},"src_endpoint":{"ip":"127.0.0.1","port":52417},'
        '"actor":{"user":{"name":"frank"}},"http_request":{"http_method":"GET","version":"1.0","referrer":'
        '"http://www.example.com/start.html","user_agent":"Mozilla/4.08 [en] (Win98; I ;Nav)","url":{"path":"/apache_pb.gif",'
        '"hostname":"www.example.com","scheme":"http","port":80}},"http_response":{"code":200,"length":2326},"duration":12}'
    ),
    places=(
        Place("time", fills.Time(unit="ms")),
        Place("time_dt", fills.Time()),
        *named(fills.Text("source_address"), "src_endpoint.ip", "src_endpoint.hostname"),
        Place("src_endpoint.port", fills.Integer("source_port", 0, PORT)),
        *named(fills.Text("user_name"), "actor.user.name", "actor.user.email_addr", "actor.user.uid"),
        Place("actor.user.account.uid", fills.Text("account_id")),
        *texts(
            {
                "http_request.http_method": "http_request_method",
                "http_request.uid": "http_request_id",
                "http_request.referrer": "http_request_referrer",
                f"{_HEADERS}.Referer": "http_request_referrer",
                f"{_HEADERS}.referer": "http_request_referrer",
                "http_request.user_agent": "user_agent_original",
                f"{_HEADERS}.User-Agent": "user_agent_original",
                f"{_HEADERS}.user-agent": "user_agent_original",
                "http_request.url.url_string": "url_original",
                "http_request.url.text": "url_original",
                "http_request.url.path": "url_path",
                "http_request.url.query_string": "url_query",
                "http_request.url.hostname": "url_domain",
                "dst_endpoint.hostname": "url_domain",
            }
        ),
        *named(fills.Joined(fills.Header("forwarded_for")), "http_request.x_forwarded_for"),
        *named(fills.Header("forwarded_for"), f"{_HEADERS}.X-Forwarded-For", f"{_HEADERS}.x-forwarded-for"),
        *named(fills.Version(), "http_request.version", "http_request.http_version"),
        *named(fills.Integer("url_port", 0, PORT), "http_request.url.port", "dst_endpoint.port"),
        Place("http_request.url.scheme", fills.Lower("url_scheme")),
        Place("http_request.body_length", fills.Integer("http_request_body_bytes")),
        *named(Status(), "http_response.code", "http_status"),
        *named(fills.Integer("http_response_body_bytes"), "http_response.body_length", "http_response.length"),
        *named(fills.Duration(1_000_000), "duration", "http_response.latency"),
    ),
    expects={"class_uid": ("4002",)},
    lists=(Pairs(_HEADERS, key="name"),),
)

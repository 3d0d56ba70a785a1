"""Traefik's access log in JSON.

What it promises beyond :mod:`ingest.formats.documents`:

- The time is ``StartUTC``, else ``StartLocal``, else ``time``, at which the line was written.
- ``ClientHost`` is the peer or, when there is one, what the header X-Forwarded-For says. So the client is ``ClientAddr``, the peer,
  and ``ClientHost`` is believed like that header; where a line has no ``ClientAddr``, it is the client.
- Headers are logged only when Traefik is told to keep them.

Source: https://doc.traefik.io/traefik/reference/install-configuration/observability/logs-and-accesslogs/.
"""

from ingest.formats import fills
from ingest.formats.document_tables import CLIENT_HEADERS, PORT, Says, Status, named, texts
from ingest.formats.documents import DocumentFormat, Place

__all__ = ["TRAEFIK_JSON"]

TRAEFIK_JSON = DocumentFormat(
    name="traefik_json",
    description="Traefik's access log in JSON",
    source="https://doc.traefik.io/traefik/reference/install-configuration/observability/logs-and-accesslogs/",
    sample=(
        '{"ClientAddr":"127.0.0.1:39496","ClientHost":"127.0.0.1","ClientPort":"39496","ClientUsername":"frank",'
        '"DownstreamContentSize":2326,"DownstreamStatus":200,"Duration":357313,"RequestAddr":"www.example.com","RequestContentSize":0,'
        '"RequestHost":"www.example.com","RequestMethod":"GET","RequestPath":"/apache_pb.gif","RequestPort":"-",'
        '"RequestProtocol":"HTTP/1.0","RequestScheme":"http","RouterName":"web@docker","StartUTC":"2000-10-10T20:55:36.000000192Z",'
        '"request_Referer":"http://www.example.com/start.html","request_User-Agent":"Mozilla/4.08 [en] (Win98; I ;Nav)",'
        '"level":"info","msg":"","time":"2000-10-10T20:55:36Z"}'
    ),
    places=(
        *named(fills.Time(), "StartUTC", "StartLocal", "time"),
        Place("ClientAddr", fills.HostPort("source_address", "source_port")),
        Place("ClientPort", fills.Integer("source_port", 0, PORT)),
        Place("request_X-Forwarded-For", fills.Header("forwarded_for")),
        Place("ClientHost", fills.Both(fills.Header("forwarded_for"), fills.Text("source_address"))),
        Place("request_Forwarded", fills.Header("forwarded")),
        *named(fills.Header("client_address"), *(f"request_{name}" for name in CLIENT_HEADERS)),
        Place("RequestPort", fills.Integer("url_port", 0, PORT)),
        Place("RequestHost", fills.Text("url_domain")),
        Place("RequestAddr", fills.HostPort("url_domain", "url_port")),
        Place("RequestScheme", fills.Lower("url_scheme")),
        Place("TLSVersion", Says("url_scheme", "https")),
        Place("RequestProtocol", fills.Version()),
        *texts(
            {
                "ClientUsername": "user_name",
                "RequestMethod": "http_request_method",
                "RequestPath": "url_original",
                "request_Referer": "http_request_referrer",
                "request_User-Agent": "user_agent_original",
                "request_X-Request-Id": "http_request_id",
                "TraceId": "http_request_id",
            }
        ),
        Place("RequestContentSize", fills.Integer("http_request_body_bytes")),
        Place("DownstreamStatus", Status()),
        Place("DownstreamContentSize", fills.Integer("http_response_body_bytes")),
        Place("Duration", fills.Duration(1)),
    ),
    requires=("RequestMethod", "DownstreamStatus"),
)

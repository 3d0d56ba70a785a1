"""Access logs of Amazon API Gateway in JSON, with the names of its documentation's example.

API Gateway writes what its user's format says. Read are the names of the console's JSON example (``ip``, ``requestTime``,
``responseLength``) and those of the ``$context`` variables. What it promises beyond :mod:`ingest.formats.documents`:

- ``requestId`` and ``httpMethod`` must be there. The time is ``requestTimeEpoch``, milliseconds, else ``requestTime``.
- ``path`` counts before ``resourcePath``, which is the path's pattern.
- ``responseLatency`` is the duration; ``caller``, ``accountId`` (the API's owner), ``routeKey`` are labels.

Source: https://docs.aws.amazon.com/apigateway/latest/developerguide/set-up-access-logging.html and
https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-variables-for-access-logging.html.
"""

from ingest.formats import fills
from ingest.formats.document_tables import Status, named
from ingest.formats.documents import DocumentFormat, Place

__all__ = ["API_GATEWAY"]

API_GATEWAY = DocumentFormat(
    name="api_gateway",
    description="Amazon API Gateway access log in JSON, with the names of its documentation",
    source="https://docs.aws.amazon.com/apigateway/latest/developerguide/set-up-access-logging.html",
    sample=(
        '{"requestId":"4bf92f35-77b3-4da6-a3ce-929d0e0e4736","ip":"127.0.0.1","caller":"-","user":"frank",'
        '"requestTime":"10/Oct/2000:20:55:36 +0000","httpMethod":"GET","resourcePath":"/{proxy+}","path":"/apache_pb.gif",'
        '"status":"200","protocol":"HTTP/1.0","responseLength":"2326","userAgent":"Mozilla/4.08 [en] (Win98; I ;Nav)",'
        '"referer":"http://www.example.com/start.html"}'
    ),
    places=(
        Place("requestTimeEpoch", fills.Time(unit="ms")),
        Place("requestTime", fills.Time()),
        *named(fills.Text("source_address"), "ip", "sourceIp", "identity.sourceIp", "clientIp"),
        *named(fills.Header("forwarded_for"), "xForwardedFor", "x-forwarded-for"),
        *named(fills.Text("user_name"), "user", "identity.user", "principalId", "authorizer.principalId"),
        *named(fills.Text("http_request_id"), "requestId"),
        *named(fills.Text("http_request_method"), "httpMethod"),
        *named(fills.Text("url_original"), "path", "resourcePath"),
        *named(fills.HostPort("url_domain", "url_port"), "domainName"),
        Place("protocol", fills.Version()),
        *named(fills.Text("user_agent_original"), "userAgent", "identity.userAgent"),
        *named(fills.Text("http_request_referrer"), "referer", "referrer"),
        Place("status", Status()),
        Place("responseLength", fills.Integer("http_response_body_bytes")),
        Place("responseLatency", fills.Duration(1_000_000)),
    ),
    requires=("requestId", "httpMethod"),
)

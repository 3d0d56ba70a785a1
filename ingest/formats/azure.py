"""Access logs of Azure Front Door and Azure Application Gateway, as Azure Monitor exports them.

A property is named ``properties.clientIp`` in storage accounts and event hubs, ``clientIp_s`` in exports of the table
AzureDiagnostics, ``ClientIp`` in those of a table of the resource's own (AGWAccessLogs). What these promise beyond
:mod:`ingest.formats.documents`:

- Front Door takes ``clientIp`` from X-Forwarded-For when there is one, whoever sent it. So the client is ``socketIp``, the peer,
  and ``clientIp`` is believed like a header; where a line has no ``socketIp`` (the classic tier), it is the client.
- Front Door's ``timeTaken`` is seconds. Application Gateway's is seconds in version 2, which always writes decimals, and whole
  milliseconds in version 1.
- Application Gateway's ``requestQuery`` is no query in version 1; it is a label. ``originalRequestUriWithArgs`` counts first.
- Entries of Front Door without tracking reference or method, and of Application Gateway without client, are of other logs (health
  probes, firewalls). A status of 0, for a request whose origin did not answer in time, is a label.
- Sizes of responses are all that was sent; those of requests (``requestBytes``, ``receivedBytes``) hold headers and are labels.

Source: https://learn.microsoft.com/en-us/azure/frontdoor/monitor-front-door-reference and
https://learn.microsoft.com/en-us/azure/application-gateway/application-gateway-diagnostics#access-log.
"""

from ingest.formats import fills
from ingest.formats.document_tables import PORT, DemandingFormat, HostOf, Status, named
from ingest.formats.documents import Place
from ingest.formats.header_fills import TimeTaken

__all__ = ["AZURE_APP_GATEWAY", "AZURE_FRONT_DOOR"]

_SUFFIXES = ("_s", "_d", "_g")
"""Types of the columns of AzureDiagnostics: text, number, GUID."""


def _property(name: str, fill: fills.Fill) -> tuple[Place, ...]:
    """A property under each of its names."""
    return named(fill, f"properties.{name}", *(name + suffix for suffix in _SUFFIXES), name[0].upper() + name[1:])


_TIMES = named(fills.Time(), "timeStamp", "time", "timeStamp_t", "time_t", "TimeGenerated")

AZURE_FRONT_DOOR = DemandingFormat(
    name="azure_front_door",
    description="Azure Front Door access log (FrontDoorAccessLog), of the standard, premium and classic tiers",
    source="https://learn.microsoft.com/en-us/azure/frontdoor/monitor-front-door-reference",
    sample=(
        '{"time":"2000-10-10T20:55:36.000Z","resourceId":"/SUBSCRIPTIONS/S/RESOURCEGROUPS/G/PROVIDERS/MICROSOFT.CDN/PROFILES/P",'
        '"category":"FrontDoorAccessLog","operationName":"Microsoft.Cdn/Profiles/FrontDoorAccessLog/Write","properties":{'
        '"trackingReference":"0HSd7YgAAAABc","httpMethod":"GET","httpVersion":"1.0","requestUri":"http://www.example.com:80/apache_pb.gif",'
        '"requestBytes":"345","responseBytes":"2326","userAgent":"Mozilla/4.08 [en] (Win98; I ;Nav)","clientIp":"127.0.0.1",'
        '"socketIp":"127.0.0.1","clientPort":"52417","timeToFirstByte":"0.024","timeTaken":"0.024","requestProtocol":"HTTP",'
        '"httpStatusCode":"200","referer":"http://www.example.com/start.html","hostName":"www.example.com","cacheStatus":"HIT"}}'
    ),
    places=(
        *_TIMES,
        *_property("socketIp", fills.Text("source_address")),
        *_property("clientIp", fills.Both(fills.Header("client_address"), fills.Text("source_address"))),
        *_property("clientPort", fills.Integer("source_port", 0, PORT)),
        *_property("trackingReference", fills.Text("http_request_id")),
        *_property("httpMethod", fills.Text("http_request_method")),
        *_property("httpVersion", fills.Version()),
        *_property("requestUri", fills.Text("url_original")),
        *_property("hostName", fills.HostPort("url_domain", "url_port")),
        *_property("requestProtocol", fills.Lower("url_scheme")),
        *_property("userAgent", fills.Text("user_agent_original")),
        *_property("referer", fills.Text("http_request_referrer")),
        *_property("referrer", fills.Text("http_request_referrer")),
        *_property("httpStatusCode", Status()),
        *_property("responseBytes", fills.Integer("http_response_body_bytes")),
        *_property("timeTaken", fills.Duration(1_000_000_000)),
    ),
    demands=("http_request_id", "http_request_method"),
)

AZURE_APP_GATEWAY = DemandingFormat(
    name="azure_app_gateway",
    description="Azure Application Gateway access log (ApplicationGatewayAccessLog), versions 1 and 2",
    source="https://learn.microsoft.com/en-us/azure/application-gateway/application-gateway-diagnostics#access-log",
    sample=(
        '{"timeStamp":"2000-10-10T20:55:36+00:00","resourceId":"/SUBSCRIPTIONS/S/RESOURCEGROUPS/G/PROVIDERS/MICROSOFT.NETWORK/'
        'APPLICATIONGATEWAYS/A","listenerName":"HTTP-Listener","operationName":"ApplicationGatewayAccess","category":'
        '"ApplicationGatewayAccessLog","properties":{"instanceId":"appgw_2","clientIP":"127.0.0.1","clientPort":45057,"httpMethod":"GET",'
        '"originalRequestUriWithArgs":"/apache_pb.gif","requestUri":"/apache_pb.gif","requestQuery":"","userAgent":'
        '"Mozilla/4.08 [en] (Win98; I ;Nav)","httpStatus":200,"httpVersion":"HTTP/1.0","receivedBytes":184,"sentBytes":2326,'
        '"timeTaken":0.034,"transactionId":"592d1649f75a8d480a3c4dc6a975309d","originalHost":"www.example.com","host":"www.example.com"}}'
    ),
    places=(
        *_TIMES,
        *named(fills.Text("source_address"), "properties.clientIP", "clientIP_s", "ClientIp"),
        *_property("clientPort", fills.Integer("source_port", 0, PORT)),
        *_property("transactionId", fills.Text("http_request_id")),
        *_property("httpMethod", fills.Text("http_request_method")),
        *_property("httpVersion", fills.Version()),
        *_property("originalRequestUriWithArgs", fills.Text("url_original")),
        *_property("requestUri", fills.Text("url_original")),
        *_property("originalHost", fills.HostPort("url_domain", "url_port")),
        *_property("host", HostOf("url_domain")),
        *_property("userAgent", fills.Text("user_agent_original")),
        *_property("httpStatus", Status()),
        *_property("sentBytes", fills.Integer("http_response_body_bytes")),
        *_property("timeTaken", TimeTaken()),
    ),
    demands=("source_address",),
)

"""Logs of clouds in JSON: Google Cloud, Azure, Amazon API Gateway, CloudTrail. Documents are of their documentation and of real logs."""

from pathlib import Path
from typing import Any

import pytest

from tests.unit.ingest.json_rows import labels, reason, row, sample

CLOUDTRAIL = Path(__file__).parents[2] / "data" / "conformance" / "crowdsec-hub" / "aws-cloudtrail" / "aws-cloudtrail.log"

GOOGLE: dict[str, Any] = {
    "httpRequest": {
        "latency": "0.058927s", "referer": "http://dummy_referer/console/", "remoteIp": "198.51.100.1", "requestMethod": "GET",
        "requestSize": "257", "requestUrl": "https://34.1.0.35/console/?a=b", "responseSize": "1467", "status": 302,
        "userAgent": "curl/8.5.0", "serverIp": "10.0.0.9", "cacheHit": True, "protocol": "HTTP/2",
    },
    "insertId": "1vzs264g1u90hp5",
    "jsonPayload": {"@type": "type.googleapis.com/LoadBalancerLogEntry", "statusDetails": "response_sent_by_backend",
                    "remoteIp": "198.51.100.1"},
    "logName": "projects/p/logs/requests", "receiveTimestamp": "2000-10-10T20:55:37.1Z", "resource": {"type": "http_load_balancer"},
    "timestamp": "2000-10-10T20:55:36.123456789Z", "trace": "projects/p/traces/4bf9", "spanId": "4bf9",
}  # fmt: skip


def test_google_every_column() -> None:
    assert row("gcp_lb", GOOGLE) == {
        "event_time": "2000-10-10T20:55:36.123456+00:00",
        "source_address": "198.51.100.1",
        "http_request_method": "GET",
        "http_request_referrer": "http://dummy_referer/console/",
        "http_request_id": "projects/p/traces/4bf9",
        "http_version": "2",
        "http_response_status_code": 302,
        "http_response_body_bytes": 1467,
        "url_original": "https://34.1.0.35/console/?a=b",
        "user_agent_original": "curl/8.5.0",
        "event_duration": 58_927_000,
    }
    kept = labels("gcp_lb", GOOGLE)
    assert kept["httpRequest.requestSize"] == "257"
    assert kept["httpRequest.cacheHit"] is True
    assert kept["jsonPayload.statusDetails"] == "response_sent_by_backend"
    assert kept["resource"] == {"type": "http_load_balancer"}
    assert {"insertId", "logName", "receiveTimestamp", "spanId", "httpRequest.serverIp"} < set(kept)


def test_google_odd_values() -> None:
    def changed(**members: Any) -> dict[str, Any]:
        return GOOGLE | {"httpRequest": GOOGLE["httpRequest"] | members}

    found = row("gcp_lb", changed(remoteIp="10.0.0.1:80"))
    assert (found["source_address"], found["source_port"]) == ("10.0.0.1", 80)
    assert row("gcp_lb", changed(remoteIp="FE80::0202:B3FF:FE1E:8329"))["source_address"] == "FE80::0202:B3FF:FE1E:8329"
    assert row("gcp_lb", changed(remoteIp=None))["source_address"] == "198.51.100.1"
    assert row("gcp_lb", changed(latency="1.000000001s"))["event_duration"] == 1_000_000_001
    assert "http_response_status_code" not in row("gcp_lb", changed(status=0))
    assert reason("gcp_lb", changed(latency="soon")) == "event_duration is not a duration"
    assert reason("gcp_lb", {"timestamp": 1, "httpRequest": {"requestUrl": "/"}}) == "no httpRequest.requestMethod"


def flat(document: dict[str, Any]) -> dict[str, Any]:
    """As Log Analytics exports the table AzureDiagnostics: ``name_s`` for texts, ``name_d`` for numbers."""
    outer = {name: value for name, value in document.items() if name not in ("properties", "time", "timeStamp")}
    inner = {
        name + ("_s" if isinstance(value, str) else "_d"): float(value) if isinstance(value, int) else value
        for name, value in document["properties"].items()
    }
    return outer | inner | {"TimeGenerated": document.get("time", document.get("timeStamp"))}


def test_front_door_every_column_and_a_client_that_a_header_names() -> None:
    document = sample("azure_front_door")
    document["properties"] |= {
        "clientIp": "192.0.2.7", "socketIp": "198.51.100.2", "requestProtocol": "HTTPS", "securityProtocol": "TLSv1.3",
        "requestUri": "https://www.example.com:443/a?b=c", "httpVersion": "2.0", "originUrl": "N/A",
    }  # fmt: skip
    assert row("azure_front_door", document) == {
        "event_time": "2000-10-10T20:55:36+00:00",
        "source_address": "198.51.100.2",
        "source_port": 52417,
        "http_request_method": "GET",
        "http_request_referrer": "http://www.example.com/start.html",
        "http_request_id": "0HSd7YgAAAABc",
        "http_version": "2.0",
        "http_response_status_code": 200,
        "http_response_body_bytes": 2326,
        "url_scheme": "https",
        "url_domain": "www.example.com",
        "url_original": "https://www.example.com:443/a?b=c",
        "user_agent_original": "Mozilla/4.08 [en] (Win98; I ;Nav)",
        "event_duration": 24_000_000,
        "client_address": "192.0.2.7",
    }
    kept = labels("azure_front_door", document)
    assert (kept["properties.clientIp"], kept["properties.requestBytes"]) == ("192.0.2.7", "345")
    assert {"category", "properties.securityProtocol", "properties.timeToFirstByte", "properties.originUrl"} < set(kept)


def test_front_door_of_the_classic_tier_and_as_table() -> None:
    document = sample("azure_front_door")
    del document["properties"]["socketIp"]
    document["category"] = "FrontdoorAccessLog"
    found = row("azure_front_door", document)
    assert (found["source_address"], found["client_address"]) == ("127.0.0.1", "127.0.0.1")
    assert row("azure_front_door", flat(document)) == found


def test_front_door_an_origin_that_did_not_answer() -> None:
    document = sample("azure_front_door")
    document["properties"]["httpStatusCode"] = "0"
    assert "http_response_status_code" not in row("azure_front_door", document)
    assert labels("azure_front_door", document)["properties.httpStatusCode"] == "0"


def test_front_door_other_logs() -> None:
    probe = {
        "time": "2021-02-02T07:15:37.3640748Z", "category": "FrontDoorHealthProbeLog",
        "properties": {"healthProbeId": "9642", "httpVerb": "HEAD", "httpStatusCode": "400"},
    }  # fmt: skip
    assert reason("azure_front_door", probe) == "no http_request_id"
    firewall = {"time": "2021-02-02T07:15:37Z", "properties": {"trackingReference": "0HSd", "requestUri": "https://h/", "action": "Block"}}
    assert reason("azure_front_door", firewall) == "no http_request_method"


GATEWAY_V2: dict[str, Any] = {
    "timeStamp": "2021-10-14T22:17:11+00:00", "listenerName": "HTTP-Listener", "operationName": "ApplicationGatewayAccess",
    "category": "ApplicationGatewayAccessLog",
    "properties": {
        "instanceId": "appgw_2", "clientIP": "185.42.129.24", "clientPort": 45057, "httpMethod": "GET",
        "originalRequestUriWithArgs": "/a?b=c", "requestUri": "/a", "requestQuery": "b=c", "userAgent": "curl/8.5.0",
        "httpStatus": 200, "httpVersion": "HTTP/1.1",
        "receivedBytes": 184, "sentBytes": 466, "clientResponseTime": 0, "timeTaken": 0.034, "WAFMode": "Detection",
        "transactionId": "592d1649f75a8d480a3c4dc6a975309d", "sslEnabled": "on", "sslProtocol": "TLSv1.2",
        "serverRouted": "52.239.221.65:443", "originalHost": "20.110.30.194", "host": "backend.example.com:8080",
        "error_info": "ERRORINFO_NO_ERROR",
    },
}  # fmt: skip


def test_application_gateway_version_2() -> None:
    assert row("azure_app_gateway", GATEWAY_V2) == {
        "event_time": "2021-10-14T22:17:11+00:00",
        "source_address": "185.42.129.24",
        "source_port": 45057,
        "http_request_method": "GET",
        "http_request_id": "592d1649f75a8d480a3c4dc6a975309d",
        "http_version": "1.1",
        "http_response_status_code": 200,
        "http_response_body_bytes": 466,
        "url_domain": "20.110.30.194",
        "url_original": "/a?b=c",
        "user_agent_original": "curl/8.5.0",
        "event_duration": 34_000_000,
    }
    kept = labels("azure_app_gateway", GATEWAY_V2)
    assert (kept["properties.host"], kept["properties.requestQuery"], kept["properties.receivedBytes"]) == (
        "backend.example.com:8080",
        "b=c",
        184,
    )
    assert {"listenerName", "properties.sslProtocol", "properties.serverRouted", "properties.requestUri"} < set(kept)
    assert row("azure_app_gateway", flat(GATEWAY_V2)) == row("azure_app_gateway", GATEWAY_V2)


def test_application_gateway_version_1() -> None:
    document = {
        "operationName": "ApplicationGatewayAccess", "time": "2017-04-26T19:27:38Z", "category": "ApplicationGatewayAccessLog",
        "properties": {
            "instanceId": "ApplicationGatewayRole_IN_0", "clientIP": "191.96.249.97", "clientPort": 46886, "httpMethod": "GET",
            "requestUri": "/phpmyadmin/scripts/setup.php", "requestQuery": "X-AzureApplicationGateway-CACHE-HIT=0&SERVER-STATUS=404",
            "userAgent": "-", "httpStatus": 404, "httpVersion": "HTTP/1.0", "receivedBytes": 65, "sentBytes": 553, "timeTaken": 205,
            "sslEnabled": "off", "host": "www.contoso.com", "originalHost": "www.contoso.com",
        },
    }  # fmt: skip
    found = row("azure_app_gateway", document)
    assert (found["event_duration"], found["url_original"]) == (205_000_000, "/phpmyadmin/scripts/setup.php")
    assert {"user_agent_original", "url_query"} & set(found) == set()


def test_application_gateway_table_of_its_own_and_other_logs() -> None:
    table = {
        "TimeGenerated": "2021-10-14T22:17:11Z", "ClientIp": "185.42.129.24", "ClientPort": 45057, "HttpMethod": "GET", "HttpStatus": 200,
        "HttpVersion": "HTTP/1.1", "OriginalRequestUriWithArgs": "/a?b=c", "RequestUri": "/a", "SentBytes": 466, "TimeTaken": "0.034",
        "TransactionId": "592d1649f75a8d480a3c4dc6a975309d", "UserAgent": "curl/8.5.0", "OriginalHost": "20.110.30.194", "Host": "h",
    }  # fmt: skip
    assert row("azure_app_gateway", table) == row("azure_app_gateway", GATEWAY_V2)
    firewall = {
        "timeStamp": "2021-10-14T22:17:11+00:00",
        "properties": {"clientIp": "185.42.129.24", "requestUri": "/", "ruleId": "920350"},
    }
    assert reason("azure_app_gateway", firewall) == "no source_address"


# The format of the documentation's example, as written for a request.
REST: dict[str, Any] = {
    "requestId": "c6af9ac6-7b61-11e6-9a41-93e8deadbeef", "ip": "192.0.2.1", "caller": "-", "user": "-",
    "requestTime": "09/Apr/2015:12:34:56 +0000", "httpMethod": "GET", "resourcePath": "/pets/{petId}", "status": "200",
    "protocol": "HTTP/1.1", "responseLength": "2326",
}  # fmt: skip


def test_api_gateway_the_example_of_its_documentation() -> None:
    assert row("api_gateway", REST) == {
        "event_time": "2015-04-09T12:34:56+00:00",
        "source_address": "192.0.2.1",
        "http_request_method": "GET",
        "http_request_id": "c6af9ac6-7b61-11e6-9a41-93e8deadbeef",
        "http_version": "1.1",
        "http_response_status_code": 200,
        "http_response_body_bytes": 2326,
        "url_original": "/pets/{petId}",
    }
    assert labels("api_gateway", REST) == {"caller": "-"}


def test_api_gateway_with_more_variables() -> None:
    document = REST | {
        "requestTimeEpoch": "1428582896587", "user": "AIDAEXAMPLE", "path": "/prod/pets/7", "domainName": "api.example.com",
        "userAgent": "curl/8.5.0", "responseLatency": "12", "integrationLatency": "9",
        "xForwardedFor": "192.0.2.7", "routeKey": "GET /pets",
    }  # fmt: skip
    found = row("api_gateway", document)
    assert (found["event_time"], found["user_name"], found["url_original"]) == (
        "2015-04-09T12:34:56.587000+00:00",
        "AIDAEXAMPLE",
        "/prod/pets/7",
    )
    assert (found["url_domain"], found["user_agent_original"], found["event_duration"]) == ("api.example.com", "curl/8.5.0", 12_000_000)
    assert found["forwarded_for"] == "192.0.2.7"
    assert labels("api_gateway", document) == {
        "caller": "-", "requestTime": "09/Apr/2015:12:34:56 +0000", "resourcePath": "/pets/{petId}", "integrationLatency": "9",
        "xForwardedFor": "192.0.2.7", "routeKey": "GET /pets",
    }  # fmt: skip


@pytest.mark.parametrize("missing", ["requestId", "httpMethod"])
def test_api_gateway_is_told_by_these(missing: str) -> None:
    assert reason("api_gateway", {name: value for name, value in REST.items() if name != missing}) == f"no {missing}"


def test_cloudtrail_real_lines() -> None:
    console, role = CLOUDTRAIL.read_text().splitlines()
    assert row("cloudtrail", console) == {
        "event_time": "2023-04-11T15:24:00+00:00",
        "source_address": "1.2.3.4",
        "user_name": "<userName>",
        "account_id": "<accountId>",
        "http_request_id": "<eventId>",
        "url_domain": "signin.aws.amazon.com",
        "user_agent_original": "Mozilla/5.0 (X11; Linux x86_64; rv:102.0) Gecko/20100101Firefox/102.0",
    }
    kept = labels("cloudtrail", console)
    assert (kept["eventName"], kept["errorMessage"]) == ("ConsoleLogin", "Failed authentication")
    assert kept["responseElements"] == {"ConsoleLogin": "Failure"}
    assert kept["additionalEventData.MFAUsed"] == "Yes"
    found = row("cloudtrail", role)
    assert (found["user_name"], found["http_request_id"]) == ("<arn>", "<request-i>")
    assert labels("cloudtrail", role)["eventID"] == "<eventid>"


def test_cloudtrail_services_and_bytes() -> None:
    document = sample("cloudtrail")
    document |= {"sourceIPAddress": "cloudformation.amazonaws.com", "userIdentity": {"type": "AWSService", "invokedBy": "x"}}
    document["additionalEventData"] = {"bytesTransferredIn": 34.0, "bytesTransferredOut": 2326.0, "x-amz-id-2": "y"}
    found = row("cloudtrail", document)
    assert (found["source_address"], found["http_request_body_bytes"]) == ("cloudformation.amazonaws.com", 34)
    assert (found["http_response_body_bytes"], found["account_id"]) == (2326, "123456789012")
    assert "user_name" not in found
    assert labels("cloudtrail", document)["userIdentity.invokedBy"] == "x"
    assert reason("cloudtrail", {"eventTime": "2023-04-11T15:24:00Z", "eventVersion": "1.08"}) == "no eventSource"

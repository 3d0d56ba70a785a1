"""The documented mapping: for each field of another project the column it is compared with, and how its value is written.

A field that a case holds is in one of the two: mapped, or not compared for a reason.
"""

import datetime as dt
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase

from tests.conformance.cases import Value

__all__ = ["HOW", "MAPPING", "NOT_COMPARED", "Target", "reason_not_compared", "target_of"]

_CONTINENTS = {
    "Africa": "AF", "Antarctica": "AN", "Asia": "AS", "Europe": "EU", "North America": "NA", "Oceania": "OC", "South America": "SA",
}  # fmt: skip


@dataclass(frozen=True)
class Target:
    """Where a foreign field belongs.

    :param column: a column, ``url`` or ``labels.NAME``; see :class:`tests.conformance.cases.Case`.
    :param how: how its value is turned into ours, a key of :data:`HOW`.
    """

    column: str
    how: str = "as it is"


def _number(text: Value) -> int | None:
    return None if text in ("-", "", None) else int(str(text))


def _time(text: Value) -> dt.datetime:
    return dt.datetime.fromisoformat(str(text)).astimezone(dt.UTC)


def _log_time(text: Value) -> dt.datetime:
    if str(text)[4:5] == "-":
        return dt.datetime.fromisoformat(str(text)).replace(tzinfo=dt.UTC)
    zoned = str(text) if len(str(text)) > len("29/Aug/2023 22:02:58") else f"{text} +0000".replace(" ", ":", 1)
    return dt.datetime.strptime(zoned, "%d/%b/%Y:%H:%M:%S %z").astimezone(dt.UTC)


def _haproxy_time(text: Value) -> dt.datetime:
    return dt.datetime.strptime(str(text), "%d/%b/%Y:%H:%M:%S.%f").replace(tzinfo=dt.UTC)


def _epoch(seconds: Value) -> dt.datetime:
    return dt.datetime.fromtimestamp(float(str(seconds)), dt.UTC)


def _scaled(scale: int) -> Callable[[Value], Value]:
    return lambda value: round(float(str(value)) * scale)


HOW: Mapping[str, Callable[[Value], Value]] = {
    "as it is": lambda value: value,
    "`-` is none": lambda value: None if value == "-" else value,
    "`-` and an empty text are none": lambda value: None if value in ("-", "") else value,
    "as a number": _number,
    "ISO 8601": _time,
    "time of an access log": _log_time,
    "time of HAProxy, UTC": _haproxy_time,
    "seconds since 1970": _epoch,
    "milliseconds": _scaled(10**6),
    "seconds": _scaled(10**9),
    "name of the continent": lambda value: _CONTINENTS[str(value)],
    "without `HTTP/`": lambda value: None if value == "-" else str(value).removeprefix("HTTP/"),
    "port cut off": lambda value: str(value).rsplit(":", 1)[0],
}
"""How values are turned into ours, by what the page says of it."""

_NONE, _BLANK = "`-` is none", "`-` and an empty text are none"
_INT = "as a number"


def _labels(prefix: str, names: str, **others: str) -> dict[str, Target]:
    """Fields that are labels of the same name, and others, field = label."""
    same = {name: name for name in names.split()}
    return {prefix + name: Target(f"labels.{label}", _NONE) for name, label in {**same, **others}.items()}


_NPM_LABELS = {
    "Parsed.bytes_sent": Target("labels.bytes_sent"),
    "Parsed.gzip_ratio": Target("labels.gzip_ratio", _NONE),
    "Parsed.target_server": Target("labels.server"),
    "Parsed.upstream_cache_status": Target("labels.upstream_cache_status", _NONE),
    "Parsed.upstream_status": Target("labels.upstream_status"),
}

_ELB = {
    "timestamp": Target("event_time", "ISO 8601"),
    "elb_status_code": Target("http_response_status_code", _INT),
    "sent_bytes": Target("http_response_body_bytes", _INT),
    "cs_uri_scheme": Target("url_scheme"),
    "cs_uri_hostname": Target("url_domain"),
    "cs_uri_port": Target("url_port", _INT),
    "cs_uri_path": Target("url_path", _NONE),
    "user_agent": Target("user_agent_original", _NONE),
    **_labels("", "elb received_bytes request_processing_time response_processing_time ssl_cipher ssl_protocol"),
}

MAPPING: Mapping[str, Mapping[str, Mapping[str, Target]]] = {
    "elastic-beats": {
        "": {
            "@timestamp": Target("event_time", "ISO 8601"),
            "source.address": Target("source_address"),
            "source.domain": Target("source_address"),
            "source.ip": Target("source_ip"),
            "source.port": Target("source_port", _INT),
            "source.geo.continent_name": Target("source_geo_continent_code", "name of the continent"),
            "source.geo.country_iso_code": Target("source_geo_country_iso_code"),
            "source.geo.country_name": Target("source_geo_country_name"),
            "source.geo.region_iso_code": Target("source_geo_region_iso_code"),
            "source.geo.region_name": Target("source_geo_region_name"),
            "source.geo.city_name": Target("source_geo_city_name"),
            "source.geo.location.lat": Target("source_geo_location_lat"),
            "source.geo.location.lon": Target("source_geo_location_lon"),
            "source.as.number": Target("source_as_number"),
            "source.as.organization.name": Target("source_as_organization_name"),
            "user.name": Target("user_name", _NONE),
            "http.request.method": Target("http_request_method"),
            "http.request.referrer": Target("http_request_referrer", _NONE),
            "http.request.id": Target("http_request_id"),
            "http.request.body.bytes": Target("http_request_body_bytes"),
            "http.version": Target("http_version"),
            "http.response.status_code": Target("http_response_status_code"),
            "http.response.body.bytes": Target("http_response_body_bytes"),
            "http.response.bytes": Target("http_response_body_bytes"),
            "url.original": Target("url"),
            "url.path": Target("url_path"),
            "url.query": Target("url_query"),
            "url.domain": Target("url_domain"),
            "destination.domain": Target("url_domain"),
            "user_agent.original": Target("user_agent_original", _NONE),
            "user_agent.name": Target("user_agent_name"),
            "user_agent.version": Target("user_agent_version"),
            "user_agent.os.name": Target("user_agent_os_name"),
            "user_agent.os.version": Target("user_agent_os_version"),
            "user_agent.device.name": Target("user_agent_device_name"),
            "event.duration": Target("event_duration"),
            "apache.access.ssl.cipher": Target("labels.ssl_cipher"),
            "apache.access.ssl.protocol": Target("labels.ssl_protocol"),
        },
        "nginx": {
            "destination.port": Target("url_port", _INT),
            "nginx.ingress_controller.http.request.time": Target("event_duration", "seconds"),
            **_labels("nginx.ingress_controller.", "", **{"http.request.length": "request_length"}),
            "nginx.ingress_controller.upstream.name": Target("labels.proxy_upstream_name", _BLANK),
        },
        "haproxy": {
            "destination.domain": Target("labels.destination"),
            **_labels("haproxy.", "frontend_name backend_name server_name backend_queue termination_state", server_queue="srv_queue"),
            **_labels("haproxy.connections.", "retries", active="actconn", frontend="feconn", backend="beconn", server="srv_conn"),
            **_labels("haproxy.", "", total_waiting_time_ms="time_queue", connection_wait_time_ms="time_connect"),
            **_labels("haproxy.http.request.", "", time_wait_ms="time_request", time_wait_without_data_ms="time_response"),
            **_labels("haproxy.http.request.", "", captured_cookie="captured_request_cookie"),
            **_labels("haproxy.http.response.", "", captured_cookie="captured_response_cookie"),
        },
        "traefik": _labels("traefik.access.", "request_count", frontend_name="router_name", backend_url="server_url"),
        "iis": {
            "http.request.body.bytes": Target("labels.cs_bytes"),
            "destination.port": Target("url_port", _INT),
            "url.original": Target("url_path"),
        },
    },
    "crowdsec-hub": {
        "": {
            "time": Target("event_time", "ISO 8601"),
            "Meta.source_ip": Target("source_ip"),
            "Meta.http_status": Target("http_response_status_code", _INT),
            "Meta.http_user_agent": Target("user_agent_original", _NONE),
            "Meta.http_verb": Target("http_request_method"),
            "Parsed.body_bytes_sent": Target("http_response_body_bytes", _INT),
            "Parsed.http_referer": Target("http_request_referrer", _NONE),
            "Parsed.http_user_agent": Target("user_agent_original", _NONE),
            "Parsed.http_version": Target("http_version"),
            "Parsed.remote_user": Target("user_name", _NONE),
            "Parsed.request": Target("url"),
            "Parsed.status": Target("http_response_status_code", _INT),
            "Parsed.target_fqdn": Target("url_domain"),
            "Parsed.verb": Target("http_request_method"),
            "Parsed.port": Target("url_port", _INT),
            "Parsed.scheme": Target("url_scheme"),
            "Parsed.request_time": Target("event_duration", "seconds"),
            "Parsed.request_id": Target("http_request_id"),
        },
        "crowdsecurity/nginx-logs": {"Parsed.remote_addr": Target("source_address"), **_NPM_LABELS},
        "ZoeyVid/npmplus-logs": {"Parsed.remote_addr": Target("source_address"), **_NPM_LABELS},
        "crowdsecurity/nginx-proxy-manager-logs": {"Parsed.remote_addr": Target("source_address"), **_NPM_LABELS},
        "bunkerity/bunkerweb-logs": {"Parsed.remote_addr": Target("source_address")},
        "crowdsecurity/litespeed-logs": {"Parsed.remote_addr": Target("source_address")},
        "Raithmir/zoraxy-logs": {
            "Parsed.remote_addr": Target("source_address"),
            "Parsed.target_server": Target("url_domain"),
        },
        "crowdsecurity/apache2-logs": {
            "Parsed.auth": Target("user_name", _NONE),
            "Parsed.bytes": Target("http_response_body_bytes", _INT),
            "Parsed.clientip": Target("source_address"),
            "Parsed.httpversion": Target("http_version"),
            "Parsed.ident": Target("labels.ident", _NONE),
            "Parsed.rawrequest": Target("url"),
            "Parsed.referrer": Target("http_request_referrer", _NONE),
            "Parsed.response": Target("http_response_status_code", _INT),
        },
        "crowdsecurity/aws-alb": {
            "Parsed.elb_status_code": Target("http_response_status_code", _INT),
            "Parsed.host": Target("url_domain"),
            "Parsed.http_method": Target("http_request_method"),
            "Parsed.protocol": Target("url_scheme"),
            "Parsed.remote_port": Target("source_port", _INT),
            "Parsed.sent_bytes": Target("http_response_body_bytes", _INT),
            **_labels("Parsed.", "actions_executed chosen_cert_arn classification classification_reason conn_trace_id domain_name elb"),
            **_labels("Parsed.", "error_reason matched_rule_priority received_bytes redirect_url request_creation_time"),
            **_labels("Parsed.", "request_processing_time target_processing_time response_processing_time request_transform_status"),
            **_labels("Parsed.", "ssl_cipher ssl_protocol target_group_arn trace_id", target_status_code="target_status"),
            **_labels(
                "Parsed.",
                "transformed_host transformed_uri type",
                target_list="target_port_list",
                target_status_code_list="target_status_list",
            ),
        },
        "crowdsecurity/aws-cloudfront": {
            "Parsed.c_ip": Target("source_ip"),
            "Parsed.c_port": Target("source_port", _INT),
            "Parsed.cs_bytes": Target("labels.cs_bytes"),
            "Parsed.cs_method": Target("http_request_method"),
            "Parsed.cs_protocol": Target("url_scheme"),
            "Parsed.cs_protocol_version": Target("http_version", "without `HTTP/`"),
            "Parsed.cs_referer": Target("http_request_referrer", _NONE),
            "Parsed.cs_uri_query": Target("url_query"),
            "Parsed.cs_uri_stem": Target("url_path"),
            "Parsed.cs_user_agent": Target("user_agent_original", _NONE),
            "Parsed.sc_bytes": Target("http_response_body_bytes", _INT),
            "Parsed.sc_status": Target("http_response_status_code", _INT),
            "Parsed.time_taken": Target("event_duration", "seconds"),
            "Parsed.x_edge_request_id": Target("http_request_id"),
            "Parsed.x_host_header": Target("url_domain"),
        },
        "crowdsecurity/aws-cloudtrail": {"Meta.user_agent": Target("user_agent_original")},
        "crowdsecurity/caddy-logs": {
            "Parsed.remote_ip": Target("source_ip"),
            "Unmarshaled.caddy.size": Target("http_response_body_bytes"),
            "Unmarshaled.caddy.bytes_read": Target("http_request_body_bytes"),
            "Unmarshaled.caddy.user_id": Target("user_name", _BLANK),
            "Unmarshaled.caddy.request.host": Target("url_domain", "port cut off"),
            "Unmarshaled.caddy.request.proto": Target("http_version", "without `HTTP/`"),
            "Unmarshaled.caddy.request.client_ip": Target("source_ip"),
            "Unmarshaled.caddy.request.method": Target("http_request_method"),
            "Unmarshaled.caddy.request.uri": Target("url"),
            "Unmarshaled.caddy.status": Target("http_response_status_code"),
        },
        "yanis-kouidri/envoy-logs": {
            "Parsed.bytes_received": Target("http_request_body_bytes", _INT),
            "Parsed.bytes_sent": Target("http_response_body_bytes", _INT),
            "Parsed.duration": Target("event_duration", "milliseconds"),
            **_labels("Parsed.", "response_flags upstream_service_time upstream_host x_forwarded_for"),
            "Unmarshaled.envoy.bytes_received": Target("http_request_body_bytes"),
            "Unmarshaled.envoy.bytes_sent": Target("http_response_body_bytes"),
            "Unmarshaled.envoy.duration": Target("event_duration", "milliseconds"),
            "Unmarshaled.envoy.method": Target("http_request_method"),
            "Unmarshaled.envoy.protocol": Target("http_version", "without `HTTP/`"),
            "Unmarshaled.envoy.response_code": Target("http_response_status_code"),
            "Unmarshaled.envoy.start_time": Target("event_time", "ISO 8601"),
            "Unmarshaled.envoy.user-agent": Target("user_agent_original", _NONE),
            "Unmarshaled.envoy.x-request-id": Target("http_request_id"),
            "Unmarshaled.envoy.:authority": Target("url_domain"),
            "Unmarshaled.envoy.x-envoy-origin-path": Target("url"),
        },
        "crowdsecurity/haproxy-logs": {
            "Parsed.accept_date": Target("event_time", "time of HAProxy, UTC"),
            "Parsed.bytes_read": Target("http_response_body_bytes", _INT),
            "Parsed.client_ip": Target("source_ip"),
            "Parsed.client_port": Target("source_port", _INT),
            "Parsed.http_status_code": Target("http_response_status_code", _INT),
            "Parsed.time_duration": Target("event_duration", "milliseconds"),
            **_labels("Parsed.", "actconn feconn beconn retries srv_queue backend_queue backend_name server_name termination_state"),
            **_labels("Parsed.", "captured_request_cookie captured_response_cookie time_request time_queue", srvconn="srv_conn"),
            **_labels("Parsed.", "", time_backend_connect="time_connect", time_backend_response="time_response"),
        },
        "crowdsecurity/traefik-logs": {
            "Parsed.request_addr": Target("url_domain"),
            "Parsed.number_of_requests_received_since_traefik_started": Target("labels.request_count"),
            "Parsed.traefik_server_url": Target("labels.server_url", _NONE),
            "Unmarshaled.traefik.ClientUsername": Target("user_name", _NONE),
            "Unmarshaled.traefik.Duration": Target("event_duration"),
            "Unmarshaled.traefik.RequestContentSize": Target("http_request_body_bytes"),
            "Unmarshaled.traefik.RequestHost": Target("url_domain"),
            "Unmarshaled.traefik.RequestProtocol": Target("http_version", "without `HTTP/`"),
            "Unmarshaled.traefik.RequestScheme": Target("url_scheme"),
            "Unmarshaled.traefik.StartUTC": Target("event_time", "ISO 8601"),
            "Unmarshaled.traefik.RequestMethod": Target("http_request_method"),
            "Unmarshaled.traefik.RequestPath": Target("url"),
            "Unmarshaled.traefik.DownstreamStatus": Target("http_response_status_code"),
            "Unmarshaled.traefik.DownstreamContentSize": Target("http_response_body_bytes"),
        },
    },
    "lnav": {
        "": {
            "c_ip": Target("source_address"),
            "client_ip": Target("source_ip"),
            "client_port": Target("source_port", _INT),
            "cs_method": Target("http_request_method", _NONE),
            "cs_version": Target("http_version", "without `HTTP/`"),
            "cs_uri_query": Target("url_query"),
            "cs_referer": Target("http_request_referrer", _NONE),
            "cs_user_agent": Target("user_agent_original", _NONE),
            "sc_status": Target("http_response_status_code", _INT),
            "sc_bytes": Target("http_response_body_bytes", _INT),
        },
        "access_log": {
            "timestamp": Target("event_time", "time of an access log"),
            "cs_host": Target("url_domain"),
            "cs_uri_stem": Target("url_path"),
            "cs_username": Target("user_name", _NONE),
        },
        "alb_log": {
            **_ELB,
            **_labels("", "type target_processing_time target_group_arn trace_id domain_name chosen_cert_arn"),
            **_labels("", "matched_rule_priority", target_status_code="target_status"),
        },
        "elb_log": {**_ELB, **_labels("", "backend_processing_time", backend_status_code="backend_status")},
        "s3_log": {
            "timestamp": Target("event_time", "time of an access log"),
            "cs_uri_stem": Target("url_path"),
            "cs_userid": Target("user_name", _NONE),
            "req_id": Target("http_request_id"),
            "total_time": Target("event_duration", "milliseconds"),
            **_labels("", "bucket version_id host_id cipher_suite tls_version", owner="bucket_owner", op="operation", cs_key="object"),
            **_labels("", "turn_around_time", sc_error_code="error", obj_size="object_size", sig_version="signed_with"),
            **_labels("", "", auth_type="authenticated_by"),
        },
        "haproxy_log": {
            "accept_date": Target("event_time", "time of HAProxy, UTC"),
            "tt": Target("event_duration", "milliseconds"),
            "status_code": Target("http_response_status_code", _INT),
            "bytes_read": Target("http_response_body_bytes", _INT),
            "http_method": Target("http_request_method"),
            "http_url": Target("url"),
            "http_version": Target("http_version", "without `HTTP/`"),
            **_labels("", "backend_name server_name actconn feconn beconn srv_conn retries srv_queue backend_queue termination_state"),
            **_labels("", "captured_request_cookie captured_response_cookie frontend_name"),
            **_labels("", "", tq="time_request", tw="time_queue", tc="time_connect", tr="time_response"),
        },
        "caddy_log": {
            "ts": Target("event_time", "seconds since 1970"),
            "bytes_read": Target("http_request_body_bytes"),
            "duration": Target("event_duration", "seconds"),
            "request/client_ip": Target("source_ip"),
            "request/headers/User-Agent#": Target("user_agent_original"),
            "request/host": Target("url_domain", "port cut off"),
            "request/method": Target("http_request_method"),
            "request/proto": Target("http_version", "without `HTTP/`"),
            "request/uri": Target("url"),
            "size": Target("http_response_body_bytes"),
            "status": Target("http_response_status_code"),
            "user_id": Target("user_name", _BLANK),
        },
    },
}
"""Project -> scope -> field -> target. A scope is an elastic module, a crowdsec parser or an lnav format; the empty one is all of
them, and comes after the named."""

_SAME = "the same value as a field that is compared"
_ABOUT = "about the event or the reader, not a field of the line"
_LABEL = "what has no column is in `labels`, under the name its own format gives it"
_DERIVED = "derived from a field that is compared"

NOT_COMPARED: Mapping[str, Mapping[str, str]] = {
    "elastic-beats": {
        "event.[!d]*": _ABOUT,
        "event.dataset": _ABOUT,
        "fileset.name": _ABOUT,
        "input.type": _ABOUT,
        "log.offset": "tells which line the document is of",
        "related.*": _SAME,
        "service.type": _ABOUT,
        "process.*": "of the syslog line around it",
        "url.extension": _DERIVED,
        "user_agent.os.full": _DERIVED,
        "tls.*": _LABEL,
        "destination.*": _LABEL,
        "network.forwarded_ip": "a header that is not believed here, as nobody said that the peer is a proxy",
        "*.access.*": _LABEL,
        "*.error.*": _LABEL,
        "haproxy.*": _LABEL,
        "nginx.ingress_controller.*": _LABEL,
    },
    "crowdsec-hub": {
        "Unmarshaled.caddy.ts": "asserted as about equal; lnav's case of the same format has it exactly",
        "Unmarshaled.caddy.duration": "as the one before",
        "Meta.datasource_*": _ABOUT,
        "Meta.log_type": _ABOUT,
        "Meta.service": _ABOUT,
        "Meta.sub_type": _ABOUT,
        "Meta.target_fqdn": _SAME,
        "Meta.http_path": _SAME,
        "Meta.http_host": _SAME,
        "Meta.http_port": _SAME,
        "Meta.*": _LABEL,
        "Parsed.message": "the line itself",
        "Parsed.program": _ABOUT,
        "Parsed.time*": "compared as `time`, the instant that their next stage makes of it, unless a field has it with more decimals",
        "Parsed.haproxy_*": _DERIVED,
        "Parsed.http_request": _SAME,
        "Parsed.http_verb": _SAME,
        "Parsed.dest_addr": "the peer, with or without its port",
        "Parsed.*": _LABEL,
        "Unmarshaled.*": _LABEL,
        "Whitelisted": _ABOUT,
    },
    "lnav": {
        "body": "what follows the fields",
        "cs_uri_whole": _SAME,
        "timestamp": "of the syslog line around it",
        "*": _LABEL,
    },
}
"""Project -> field, a pattern -> why it is not compared. Patterns are tried in their order, after the mapping."""


def target_of(project: str, scope: str, name: str) -> Target | None:
    """Where a foreign field belongs; ``None`` when it is not compared."""
    return MAPPING[project].get(scope, {}).get(name) or MAPPING[project][""].get(name)


def reason_not_compared(project: str, name: str) -> str | None:
    """Why a field that has no target is not compared; ``None`` when nothing says so."""
    return next((reason for pattern, reason in NOT_COMPARED[project].items() if fnmatchcase(name, pattern)), None)

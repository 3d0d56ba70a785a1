"""Which file is read as which format, the formats of our own that some need, and what is left out and why."""

from tests.conformance.cases import Reading

__all__ = ["CUSTOM", "FILES", "OUT_OF_SCOPE", "TRUSTED", "UNREAD_LINES"]

_APACHE_END = r"%u %t \"%r\" %>s %b \"%{Referer}i\" \"%{User-Agent}i\""
_NGINX_END = '$remote_user [$time_local] "$request" $status $body_bytes_sent "$http_referer" "$http_user_agent"'
_NPM_START = "[$time_local] $status - $request_method $scheme $host"
_NPM_UPSTREAM = "[$time_local] $upstream_cache_status $upstream_status $status - $request_method $scheme $host"
_NPM_REQUEST = '"$request_uri" [Client $remote_addr] [Length $body_bytes_sent] [Gzip $gzip_ratio]'
_NPM_END = '"$http_user_agent" "$http_referer"'
_W3C_START = "date time s-ip cs-method cs-uri-stem cs-uri-query s-port cs-username c-ip cs(User-Agent) cs(Referer)"
_W3C_LONG = (
    "date time s-sitename s-computername s-ip cs-method cs-uri-stem cs-uri-query s-port cs-username c-ip cs-version "
    "cs(User-Agent) cs(Cookie) cs(Referer) cs-host"
)

CUSTOM: dict[str, dict[str, str]] = {
    "apache_host": {"apache": rf"%v %h %l {_APACHE_END}"},
    "apache_strftime": {"apache": r"%h %l %u [%{%d/%b/%Y %H:%M:%S}t] \"%r\" %>s %b"},
    "apache_two_spaces": {"apache": r"%h %l  %u  %t \"%r\" %>s %b \"%{Referer}i\" \"%{User-Agent}i\"  %D"},
    "apache_ssl_request": {"apache": r"%t %h %{SSL_PROTOCOL}x %{SSL_CIPHER}x \"%r\" %b"},
    "nginx_time_first": {
        "nginx": '$time_iso8601 $remote_addr $remote_user $request_method "$request_uri" $processing_time $status $body_bytes_sent '
        '"$http_referer" "$http_user_agent"'
    },
    "nginx_time_first_plain": {
        "nginx": '$time_iso8601 $remote_addr $remote_user $request_method $request_uri $processing_time $status $body_bytes_sent '
        '"$http_referer" "$http_user_agent"'
    },
    "nginx_host": {"nginx": f"$host $remote_addr - {_NGINX_END}"},
    "nginx_host_port": {"nginx": f"$host:$server_port $remote_addr - {_NGINX_END}"},
    "nginx_host_gzip": {"nginx": f'$host $remote_addr - {_NGINX_END} "$gzip_ratio"'},
    "nginx_no_user": {"nginx": f"$remote_addr - {_NGINX_END.removeprefix('$remote_user ')}"},
    "nginx_forwarded": {"nginx": f"$proxy_add_x_forwarded_for - {_NGINX_END}"},
    "nginx_forwarded_gzip": {"nginx": f'$proxy_add_x_forwarded_for - {_NGINX_END} "$gzip_ratio"'},
    "nginx_forwarded_quoted": {"nginx": f'"$http_x_forwarded_for" $remote_addr - {_NGINX_END}'},
    "nginx_forwarded_plain": {"nginx": f"$http_x_forwarded_for $remote_addr - {_NGINX_END}"},
    "nginx_host_forwarded": {"nginx": f"$host $proxy_add_x_forwarded_for - {_NGINX_END}"},
    "nginx_host_forwarded_gzip": {"nginx": f'$host $proxy_add_x_forwarded_for - {_NGINX_END} "$gzip_ratio"'},
    "nginx_host_forwarded_quoted": {"nginx": f'$host:$server_port "$http_x_forwarded_for" $remote_addr - {_NGINX_END}'},
    "nginx_host_forwarded_plain": {"nginx": f"$host $http_x_forwarded_for $remote_addr - {_NGINX_END}"},
    "bunkerweb": {"nginx": f"$host $remote_addr - $request_id {_NGINX_END}"},
    "npm": {"nginx": f"{_NPM_START} {_NPM_REQUEST} {_NPM_END}"},
    "npm_sent_to": {"nginx": f"{_NPM_START} {_NPM_REQUEST} [Sent-to $server] {_NPM_END}"},
    "npm_upstream": {"nginx": f"{_NPM_UPSTREAM} {_NPM_REQUEST} {_NPM_END}"},
    "npm_proxy": {"nginx": f"{_NPM_UPSTREAM} {_NPM_REQUEST} [Sent-to $server] {_NPM_END}"},
    "npmplus": {
        "nginx": '[$time_local] $host $remote_addr $request_time "$request" $status $body_bytes_sent $bytes_sent '
        "$http_referer $http_user_agent"
    },
    "zoraxy": {
        "nginx": "$logged_date $logged_time [$time_iso8601] [router:$router] [origin:$host] [client: $remote_addr] "
        "[useragent: $http_user_agent] $request_method $request_uri $status"
    },
    "iis_7_2": {"w3c": f"{_W3C_START} sc-status sc-substatus sc-win32-status time-taken"},
    "iis_forwarded": {"w3c": f"{_W3C_START} sc-status sc-substatus sc-win32-status time-taken X-Forwarded-For"},
    "iis_forwarded_long": {
        "w3c": f"{_W3C_LONG} sc-status sc-substatus sc-win32-status sc-bytes cs-bytes time-taken X-Forwarded-For"
    },
    "iis_httperr": {"w3c": "date time c-ip c-port s-ip s-port cs-version cs-method cs-uri sc-status s-siteid s-reason s-queuename"},
}  # fmt: skip
"""Formats as a configuration would give them, for shapes that no format of ours has: name -> kind -> definition."""

_BEATS = "filebeat/module"


def _r(**readings: str) -> tuple[Reading, ...]:
    """Readings of a file that mixes shapes: format (``__`` for ``+``) = lines."""
    return tuple(Reading(name.replace("__", "+"), lines) for name, lines in readings.items())


FILES: dict[str, dict[str, tuple[Reading, ...]]] = {
    "elastic-beats": {
        f"{_BEATS}/apache/access/test/darwin-2.4.23.log": _r(common=""),
        f"{_BEATS}/apache/access/test/ssl-request.log": _r(apache_ssl_request=""),
        f"{_BEATS}/apache/access/test/test-vhost.log": _r(apache_host=""),
        f"{_BEATS}/apache/access/test/test.log": _r(common="1,3", combined="2,4-7"),
        f"{_BEATS}/apache/access/test/ubuntu-2.2.22.log": _r(combined=""),
        f"{_BEATS}/haproxy/log/test/haproxy.log": _r(syslog__haproxy=""),
        f"{_BEATS}/haproxy/log/test/httplog-no-headers.log": _r(syslog__haproxy=""),
        f"{_BEATS}/iis/access/test/test-iis-7.2.log": _r(iis_7_2=""),
        f"{_BEATS}/iis/access/test/test-iis-7.5.log": _r(w3c=""),
        f"{_BEATS}/iis/access/test/test-ipv6zone.log": _r(w3c=""),
        f"{_BEATS}/iis/access/test/test-x-forward-for-extended.log": _r(iis_forwarded_long=""),
        f"{_BEATS}/iis/access/test/test-x-forward-for.log": _r(iis_forwarded=""),
        f"{_BEATS}/iis/access/test/test.log": _r(w3c="1-15", iis_7_2="16,17"),
        f"{_BEATS}/iis/error/test/iis_error_url.log": _r(iis_httperr=""),
        f"{_BEATS}/iis/error/test/ipv6_zone_id.log": _r(w3c=""),
        f"{_BEATS}/iis/error/test/test.log": _r(w3c=""),
        f"{_BEATS}/nginx/access/test/access.log": _r(combined="1-12", nginx_host="13-14"),
        f"{_BEATS}/nginx/access/test/test-with-host.log": _r(
            nginx_host_forwarded="1,3", nginx_host_gzip="2,9", nginx_host_port="4,7,8",
            nginx_host_forwarded_quoted="5", nginx_host_forwarded_plain="6", nginx_host_forwarded_gzip="10",
        ),
        f"{_BEATS}/nginx/access/test/test.log": _r(
            nginx_forwarded="1,3", combined="2,4,7-9", nginx_forwarded_quoted="5", nginx_forwarded_plain="6",
            nginx_forwarded_gzip="10",
        ),
        f"{_BEATS}/nginx/ingress_controller/test/test.log": _r(ingress_nginx=""),
        f"{_BEATS}/traefik/access/test/test.log": _r(traefik="1-6", common="7"),
    },
    "crowdsec-hub": {
        "apache2-logs/apache2-logs.log": _r(combined="1-3,5", apache_host="4", common="6", vhost_combined="7"),
        "apache2-malformed/apache2-logs.log": _r(combined=""),
        "aws-alb-logs/aws-alb-logs.log": _r(alb=""),
        "aws-cloudfront-logs/aws-cloudfront-logs.log": _r(cloudfront=""),
        "aws-cloudtrail/aws-cloudtrail.log": _r(cloudtrail=""),
        "bunkerweb-http-malformed/bunkerweb-http-malformed.log": _r(bunkerweb="1,3,5,6,8,10,11", nginx_host="2,4,7,9,12"),
        "bunkerweb-logs/bunkerweb-logs.log": _r(bunkerweb=""),
        "caddy-logs/caddy-logs.log": _r(caddy="1-10"),
        "envoy-logs/envoy.log": _r(cri__envoy_json="1-3,6-8", cri__envoy="4,5,9,10"),
        "haproxy-logs/haproxy-logs.log": _r(haproxy="1,2"),
        "haproxy-nextcloud-whitelist/haproxy-logs.log": _r(syslog__haproxy=""),
        "litespeed-logs/litespeed-logs.log": _r(combined="2"),
        "nginx-http-malformed/nginx_http-logs.log": _r(combined=""),
        "nginx-proxy-manager-logs/nginx-proxy-manager-logs.log": _r(npm_proxy="1,4,7-10", combined="2", npm="3,11-14"),
        "nginx-proxy-manager-malformed/nginx_http-logs.log": _r(combined=""),
        "nginx_http-catch-npm/nginx_http-catch-npm.log": _r(npmplus="1-4", npm_sent_to="5", npm_upstream="6"),
        "nginx_http-logs/nginx_http-logs.log": _r(combined="1-3,7", nginx_host="4,5", vhost_combined="6", nginx_no_user="8"),
        "npmplus-logs/npmplus-logs.log": _r(npmplus="3-10"),
        "traefik_clf/traefik_clf.log": _r(traefik="1-7"),
        "traefik_json/traefik_json.log": _r(traefik_json="1-5,7"),
        "zoraxy-http-logs/zoraxy.log": _r(zoraxy=""),
    },
    "lnav": {
        "src/formats/access_log.json": _r(
            combined="1,2,7", nginx_time_first="3", nginx_time_first_plain="4", apache_two_spaces="5", apache_host="6",
            apache_strftime="8", common="9",
        ),
        "src/formats/alb_log.json": _r(alb=""),
        "src/formats/elb_log.json": _r(elb=""),
        "src/formats/haproxy_log.json": _r(syslog__haproxy="6"),
        "src/formats/s3_log.json": _r(s3_access=""),
        "test/logfile_access_log.0": _r(combined=""),
        "test/logfile_access_log.1": _r(combined=""),
        "test/logfile_bad_access_log.0": _r(combined="1,3"),
        "test/logfile_caddy_log.1": _r(caddy=""),
        "test/logfile_haproxy.0": _r(syslog__haproxy="4-13,15-17"),
        "test/logfile_regexp_access_log.0": _r(vhost_combined=""),
        "test/logfile_shop_access_log.0": _r(combined=""),
    },
}  # fmt: skip
"""Project -> file -> how its lines are read. Of lnav's formats the lines are their samples."""

TRUSTED = frozenset({
    f"{_BEATS}/nginx/access/test/test-with-host.log",
    f"{_BEATS}/nginx/access/test/test.log",
    "envoy-logs/envoy.log",
})  # fmt: skip
"""Files that were written behind proxies with private addresses: these are believed about the client they name."""


_ERROR = "messages of a server's error log, not requests"
_NOTHING = "no expected field: its assertions are of scenarios, or only count lines"
_FIREWALL = "messages of a web application firewall, not requests"
_MESSAGES = "messages of a program, not requests"

UNREAD_LINES: dict[str, tuple[str, str]] = {
    "crowdsec-hub/apache2-logs/apache2-logs.log": ("8,9", _ERROR),
    "crowdsec-hub/bunkerweb-http-malformed/bunkerweb-http-malformed.log": ("13", "empty"),
    "crowdsec-hub/caddy-logs/caddy-logs.log": ("11,12", "a message of the program, and an empty line"),
    "crowdsec-hub/haproxy-logs/haproxy-logs.log": ("3-5", "failed TLS handshakes: no request was made"),
    "crowdsec-hub/litespeed-logs/litespeed-logs.log": ("1,3", _ERROR),
    "crowdsec-hub/nginx-proxy-manager-logs/nginx-proxy-manager-logs.log": ("5,6", _ERROR),
    "crowdsec-hub/nginx_http-logs/nginx_http-logs.log": ("9", _ERROR),
    "crowdsec-hub/npmplus-logs/npmplus-logs.log": ("1,2", _ERROR),
    "crowdsec-hub/traefik_clf/traefik_clf.log": ("8,9", "empty"),
    "crowdsec-hub/traefik_json/traefik_json.log": ("6", _MESSAGES),
    "elastic-beats/filebeat/module/haproxy/log/test/httplog-no-headers.log": ("4", "empty"),
    "elastic-beats/filebeat/module/nginx/access/test/test.log": ("11", "empty"),
    "lnav/src/formats/haproxy_log.json": ("1-5", "messages, and connections without a request"),
    "lnav/test/logfile_bad_access_log.0": ("2", "cut off: lnav's expressions take it as no request either"),
    "lnav/test/logfile_haproxy.0": ("1-3,14", "messages, and a failed TLS handshake"),
}
"""File -> lines of it that are not read, and why."""

OUT_OF_SCOPE: dict[str, str] = {
    "elastic-beats/filebeat/module/apache/error": _ERROR,
    "elastic-beats/filebeat/module/haproxy/log/test/default.log": "a connection, not a request",
    "elastic-beats/filebeat/module/haproxy/log/test/tcplog.log": "a TCP connection, not a request",
    "elastic-beats/filebeat/module/nginx/error": _ERROR,
    "elastic-beats/x-pack": "under the Elastic License, which lets nobody copy it here",
    "crowdsec-hub/apache-guacamole-logs": _MESSAGES,
    "crowdsec-hub/base-upsun-httplog-logs": "a combined line within a hosting company's JSON: no wrapper that is known",
    "crowdsec-hub/caddy-coraza": _FIREWALL,
    "crowdsec-hub/iis-xml-logs": "an XML event of the Windows event log, not a log file",
    "crowdsec-hub/modsecurity*, caddy-crs-anomaly-score": _FIREWALL,
    "crowdsec-hub/nginx-mail-*": "mail logins, not requests",
    "crowdsec-hub/nginx_req_limit_exceeded, pfsense-rfc5424-nginx": _ERROR,
    "crowdsec-hub/sympa_ww-*": _MESSAGES,
    "crowdsec-hub/tcpudp-flood-traefik": _MESSAGES,
    "crowdsec-hub/k8s-audit-*": "audit events of Kubernetes; and no expected field",
    "crowdsec-hub, all folders whose parser.assert is empty or absent": _NOTHING,
    "lnav/src/formats/caddy_log.json, test/logfile_caddy_log.0": "no sample line; JSON behind a name that a container tool puts there",
    "lnav/test/logfile_access_log_dupe.0, remote-log-dir": "copies of logfile_access_log.0 and .1",
    "lnav/test/logfile_cloudflare.*, logfile_w3c*": "lnav has no expression for these among the files that were taken: nothing is expected",
    "lnav/test/logfile_syslog_with_access_log.0": "lines without a time of their own that lnav's expressions do not take",
}
"""What was not taken, and why."""

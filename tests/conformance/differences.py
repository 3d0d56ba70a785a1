"""Where we differ from another project's expected value and stay with ours, each with the reason.

A difference that is not listed fails the suite, and so does a listed one that does not occur. Rows are printed by
``python -m tests.conformance.report --rows``.
"""

from dataclasses import dataclass

__all__ = ["DIFFERENCES", "Difference"]

Row = tuple[str, int, str, str, str]
"""File, line, column, ours, theirs."""


@dataclass(frozen=True)
class Difference:
    """Differences of one kind.

    :param reason: why ours is right.
    :param rows: all of them.
    """

    reason: str
    rows: tuple[Row, ...]


_APACHE = "elastic-beats/filebeat/module/apache/access/test"
_NGINX = "elastic-beats/filebeat/module/nginx/access/test"

_IIS = "elastic-beats/filebeat/module/iis/access/test"
_CROWDSEC = "crowdsec-hub"
_ALB_TIMES = (
    ("2023-04-26 12:22:55.463821", "2018-07-02 22:22:48.364000"),
    ("2023-04-26 12:23:00.186641", "2018-07-02 22:22:48.364000"),
    ("2023-04-26 12:23:14.948827", "2018-07-02 22:22:48.364000"),
    ("2023-04-26 19:53:46.679895", "2023-04-26 19:53:46.678000"),
    ("2023-04-26 19:53:47.809400", "2023-04-26 19:53:47.808000"),
    ("2023-04-26 19:53:48.420982", "2023-04-26 19:53:48.419000"),
    ("2023-04-26 19:53:56.715663", "2023-04-26 19:53:56.714000"),
    ("2018-07-02 22:23:00.186641", "2018-07-02 22:22:48.364000"),
    ("2023-04-26 12:23:00.186641", "2018-07-02 22:22:48.364000"),
    ("2018-07-02 22:23:00.186641", "2018-07-02 22:22:48.364000"),
    ("2023-04-26 19:53:46.679895", "2023-04-26 19:53:46.678000"),
    ("2023-04-26 19:53:47.809400", "2023-04-26 19:53:47.808000"),
    ("2023-04-26 19:53:48.420982", "2023-04-26 19:53:48.419000"),
    ("2023-04-26 19:53:56.715663", "2023-04-26 19:53:56.714000"),
)
_NEAREST = (
    ("source_address", "204.246.1.1", "175.16.199.1"),
    ("source_ip", "204.246.1.1", "175.16.199.1"),
    ("source_geo_continent_code", "null", "AS"),
    ("source_geo_country_iso_code", "null", "CN"),
    ("source_geo_country_name", "null", "China"),
    ("source_geo_region_iso_code", "null", "CN-22"),
    ("source_geo_region_name", "null", "Jilin Sheng"),
    ("source_geo_city_name", "null", "Changchun"),
    ("source_geo_location_lat", "null", "43.88"),
    ("source_geo_location_lon", "null", "125.3228"),
)

DIFFERENCES: tuple[Difference, ...] = (
    Difference(
        "The path and the query are kept as they were sent. Decoded, `%2F` and `/`, or `%26` and `&`, can no longer be told apart, "
        "and a log could not show how an attacker wrote them.",
        (
            (
                f"{_APACHE}/test.log", 7, "url_path",
                "/A%20Beka%20G1%20Howe/029_AND_30/15%20reading%20elephants.mp4",
                "/A Beka G1 Howe/029_AND_30/15 reading elephants.mp4",
            ),
            (
                f"{_APACHE}/ssl-request.log", 1, "url_query",
                "cmd=getxicoreajax&amp;opts=%7B%22func%22%3A%22get_admin_tasks_html%22%2C%22args%22%3A%22%22%7D"
                "&amp;nsp=b5c7d5d4b6f7d0cf0c92f9cbdf737f6a5c838218425e6ae21",
                'cmd=getxicoreajax&amp;opts={"func":"get_admin_tasks_html","args":""}'
                "&amp;nsp=b5c7d5d4b6f7d0cf0c92f9cbdf737f6a5c838218425e6ae21",
            ),
            (
                f"{_APACHE}/ssl-request.log", 2, "url_query",
                "cmd=getxicoreajax&opts=%7B%22func%22%3A%22get_pagetop_alert_content_html%22%2C%22args%22%3A%22%22%7D"
                "&nsp=c2700eab9797eda8a9f65a3ab17a6adbceccd60a6cca7708650a5923950d",
                'cmd=getxicoreajax&opts={"func":"get_pagetop_alert_content_html","args":""}'
                "&nsp=c2700eab9797eda8a9f65a3ab17a6adbceccd60a6cca7708650a5923950d",
            ),
            (
                f"{_NGINX}/access.log", 13, "url_path",
                "/A%20Beka%20G1%20Howe/029_AND_30/15%20reading%20elephants.mp4",
                "/A Beka G1 Howe/029_AND_30/15 reading elephants.mp4",
            ),
            (
                f"{_NGINX}/access.log", 14, "url_path",
                "/%D0%A0%D1%83%D1%81%D1%81%D0%BA%D0%B0%D1%8F%20%D1%88%D0%BA%D0%BE%D0%BB%D0%B0%20-%20"
                "InternetUrok%201%D0%BA%D0%BB%D0%B0%D1%81%D1%81/",
                "/Русская школа - InternetUrok 1класс/",  # noqa: RUF001 - the path is Russian
            ),
            (
                "elastic-beats/filebeat/module/iis/access/test/test-iis-7.2.log", 1, "url_query",
                '/c+dir+c:\\+/OG',
                '/c dir c:\\ /OG',
            ),
            (
                "elastic-beats/filebeat/module/iis/access/test/test-iis-7.2.log", 2, "url_query",
                '/c+dir+c:\\+/OG',
                '/c dir c:\\ /OG',
            ),
            (
                "elastic-beats/filebeat/module/iis/access/test/test-iis-7.2.log", 5, "url_query",
                '/c+dir+c:\\+/OG',
                '/c dir c:\\ /OG',
            ),
            (
                "elastic-beats/filebeat/module/iis/access/test/test-x-forward-for.log", 4, "url_query",
                '$filter=BatchId%20eq%20%27FY21HSNG0820%27&$orderby=Subsys,Ref&$skip=0&$top=20',
                "$filter=BatchId eq 'FY21HSNG0820'&$orderby=Subsys,Ref&$skip=0&$top=20",
            ),
            (
                "elastic-beats/filebeat/module/iis/access/test/test-x-forward-for.log", 5, "url_query",
                '$filter=Subsys%20eq%20%27JE%27%20and%20Ref%20eq%20%27HSNG08-MR%27%20and%20BatchId%20eq%20%27FY21HSNG0820%27&$o'
                'rderby=RecNo&$skip=0&$top=20',
                "$filter=Subsys eq 'JE' and Ref eq 'HSNG08-MR' and BatchId eq 'FY21HSNG0820'&$orderby=RecNo&$skip=0&$top=20",
            ),
            (
                f"{_IIS}/test.log", 16, "url_query",
                "redirect:${%23req%3d%23context.get('com.opensymphony.xwork2.dispatcher.HttpServletRequest'),"
                "%23webroot%3d%23req.getSession().getServletContext().getRealPath('/'),"
                "%23resp.println(%23webroot),%23resp.flush(),%23resp.close()}",
                "redirect:${#req=#context.get('com.opensymphony.xwork2.dispatcher.HttpServletRequest'),"
                "#webroot=#req.getSession().getServletContext().getRealPath('/'),"
                "#resp.println(#webroot),#resp.flush(),#resp.close()}",
            ),
            (
                "elastic-beats/filebeat/module/nginx/ingress_controller/test/test.log", 24, "url_path",
                "/A%20Beka%20G1%20Howe/029_AND_30/15%20reading%20elephants.mp4",
                "/A Beka G1 Howe/029_AND_30/15 reading elephants.mp4",
            ),
        ),
    ),
    Difference(
        "Of the header `10.5.102.222, 175.16.199.1, 204.246.1.1` the nearest address that is no trusted proxy is the client. What stands "
        "before it was sent by that client, who may write there what he likes; theirs is the first public address. "
        "The test database does not know 204.246.1.1.",
        tuple((f"{_NGINX}/{file}", 5, *row) for file in ("test.log", "test-with-host.log") for row in _NEAREST),
    ),
    Difference(
        "Their expression looks for the host only before a port; where the URL has none, its host becomes part of their path.",
        (("lnav/src/formats/elb_log.json", 1, "url_path", "/foo/bar", "example.com/foo/bar"),),
    ),
    Difference(
        "The peer 172.71.122.85 is not among the trusted proxies. What a header says of another client is not believed, nor is Traefik's "
        "`ClientHost`, which it takes from that header.",
        ((f"{_CROWDSEC}/traefik_json/traefik_json.log", 7, "source_ip", "172.71.122.85", "10.0.0.50"),),
    ),
    Difference(
        "The peer is a trusted proxy, and its header names the client. For the same header in Envoy's text lines (9 and 10 of the file) "
        "they take the client too.",
        (
            (f"{_CROWDSEC}/envoy-logs/envoy.log", 7, "source_ip", "192.168.1.100", "10.42.0.1"),
            (f"{_CROWDSEC}/envoy-logs/envoy.log", 8, "source_ip", "fd00:1234:5678::5a24", "fd00:1234:5678::1"),
        ),
    ),
    Difference(
        "No status was written; 0 is none of HTTP's.",
        tuple((f"{_CROWDSEC}/caddy-logs/caddy-logs.log", line, "http_response_status_code", "null", "0") for line in range(1, 8)),
    ),
    Difference(
        "The time of an entry is its field `time`, which every version of the log has; theirs is `request_creation_time`, which is a label "
        "here.",
        tuple(
            (f"{_CROWDSEC}/aws-alb-logs/aws-alb-logs.log", line, "event_time", f"{ours}+00:00", f"{theirs}+00:00")
            for line, (ours, theirs) in enumerate(_ALB_TIMES, start=1)
        ),
    ),
    Difference(
        "An address has one spelling here, that of RFC 5952: whoever groups or joins by it must find it however it was logged. "
        "`source_address` keeps the log's.",
        (
            (f"{_IIS}/test-iis-7.5.log", 8, "source_ip", "2001:cdba::3257:9652", "2001:cdba:0000:0000:0000:0000:3257:9652"),
            *(
                (f"{_NGINX}/{name}.log", 6, "source_ip", "2a02:cf40:10ff:f00f::8000", "2a02:cf40:10ff:f00f:0000:0000:0:8000")
                for name in ("test", "test-with-host")
            ),
        ),
    ),
    Difference(
        "A list of names in the address field is no list of addresses: none of them can be checked against the trusted proxies, so the "
        "field stays as the log has it; theirs takes one of the names.",
        tuple((f"{_NGINX}/{name}.log", 10, "source_address", "localhost, localhost", "localhost") for name in ("test", "test-with-host")),
    ),
    Difference(
        "The field does not hold an address: somebody's editor made a link of it. It stays as the log has it; their expression finds "
        "two parts in it.",
        (
            (
                f"{_IIS}/test-iis-7.5.log", 5, "source_address",
                "[10.100.118.31](http://10.100.118.31)", "['10.100.118.31', '10.100.118.31']",
            ),
        ),
    ),
    Difference(
        "The header was not sent (`-`): that there was none is not the same as a program that is unknown.",
        (
            (f"{_APACHE}/test.log", 6, "user_agent_name", "null", "Other"),
            (f"{_APACHE}/test.log", 6, "user_agent_device_name", "null", "Other"),
        ),
    ),
)  # fmt: skip

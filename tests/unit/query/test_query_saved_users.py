"""Saved queries about users: each finds what is there, and not what merely resembles it."""

from typing import Any

import pytest

from tests.unit.query.asked import NOW, Ask, Row, ask, at, days_ago, minutes_ago, row

__all__ = ["ask"]

BERLIN, PARIS, SYDNEY = (52.52, 13.405), (48.8566, 2.3522), (-33.8688, 151.2093)


def failures(address: str, users: list[str], first: float, seconds: float) -> list[Row]:
    """Failed logins of an address, one each so many seconds, from so many minutes ago."""
    return [
        row(minutes_ago(first - n * seconds / 60), address, 401, user=user, path="/login", method="POST") for n, user in enumerate(users)
    ]


def test_failed_login_bursts(ask: Ask) -> None:
    rows = [
        *failures("203.0.113.1", ["ann"] * 12, 100, 10),  # two minutes: a burst, and then let in
        row(minutes_ago(90), "203.0.113.1", 302, path="/login", method="POST", user="ann"),
        row(minutes_ago(110), "203.0.113.1", 302, path="/login", method="POST", user="ann"),  # before it had failed
        *failures("203.0.113.2", ["bob"] * 12, 300, 120),  # the same number, two minutes apart: never ten within five
        *failures("203.0.113.3", ["cid"] * 9, 100, 10),  # one too few
        *failures("203.0.113.4", ["dan"] * 20, 60 * 25, 1),  # yesterday's
        *[row(minutes_ago(40), "203.0.113.5", 422, path="/api/session", method="POST") for _ in range(10)],  # a form refused
        *[row(minutes_ago(40), "203.0.113.6", 404, path="/login.php") for _ in range(50)],  # a scan, no login
    ]
    found = ask("failed_login_bursts", rows)
    assert [(r["source_address"], r["peak"], r["failures"], r["users"], r["got_in"]) for r in found] == [
        ("203.0.113.1", 12, 12, 1, 1),
        ("203.0.113.5", 10, 10, 0, 0),
    ]
    assert (found[0]["first_failure"], found[0]["last_failure"]) == (minutes_ago(100), minutes_ago(100 - 110 / 60))
    assert [r["source_address"] for r in ask("failed_login_bursts", rows, within="1h", least="12")] == ["203.0.113.1", "203.0.113.2"]
    assert [r["source_address"] for r in ask("failed_login_bursts", rows, until="2026-03-11T06:00:00Z")] == ["203.0.113.4"]


def test_password_spraying(ask: Ask) -> None:
    many = [f"user{n}" for n in range(12)]
    rows = [
        *failures("203.0.113.1", many * 2, 200, 60),
        row(minutes_ago(10), "203.0.113.1", 200, user="user7"),
        row(minutes_ago(500), "203.0.113.1", 200, user="user8"),  # before: its own account
        *failures("203.0.113.2", many[:9], 200, 60),  # too few users
        *failures("203.0.113.3", ["ann"] * 60, 200, 10),  # guessing one password: a burst
        *failures("203.0.113.4", many * 5, 300, 1),  # five tries for each: an office behind one address with a broken program
        *[row(minutes_ago(9), "203.0.113.5", 200, user=user) for user in many],  # many users, none refused
        *[row(minutes_ago(9), "203.0.113.6", 401) for _ in many],  # no user known
    ]
    (found,) = ask("password_spraying", rows)
    assert {name: found[name] for name in ("source_address", "users", "failures", "failures_per_user", "entered")} == {
        "source_address": "203.0.113.1",
        "users": 12,
        "failures": 24,
        "failures_per_user": 2.0,
        "entered": ["user7"],
    }
    assert [r["source_address"] for r in ask("password_spraying", rows, users="9", tries="5")] == [
        "203.0.113.1",
        "203.0.113.4",
        "203.0.113.2",
    ]


def located(when: float, place: tuple[float, float], user: str, country: str, address: str = "203.0.113.9") -> Row:
    return row(minutes_ago(when), address, user=user, lat=place[0], lon=place[1], country=country)


def test_impossible_travel(ask: Ask) -> None:
    rows = [
        located(200, BERLIN, "ann", "DE", "203.0.113.1"),
        located(150, BERLIN, "ann", "DE", "203.0.113.1"),
        located(30, SYDNEY, "ann", "AU", "203.0.113.2"),  # 16,000 km in two hours
        located(200, BERLIN, "bob", "DE"),
        located(80, PARIS, "bob", "FR"),  # 880 km in two hours: a flight
        located(1400, BERLIN, "cid", "DE"),
        located(20, SYDNEY, "cid", "AU"),  # in 23 hours: the night flight
        located(100, BERLIN, "dan", "DE"),
        located(99, (52.4, 13.1), "dan", "DE"),  # 25 km in a minute: the database's error
        located(60, BERLIN, "eve", "DE"),
        row(minutes_ago(59), user="eve", country="AU"),  # not located
        located(50, BERLIN, "fay", "DE"),
        located(50, SYDNEY, "gus", "AU"),  # another person
    ]
    (found,) = ask("impossible_travel", rows)
    assert (found["who"], found["from_country"], found["to_country"], found["from_address"]) == ("ann", "DE", "AU", "203.0.113.1")
    assert found["km"] == pytest.approx(16_094, abs=5)  # https://www.movable-type.co.uk/scripts/latlong.html gives the formula
    assert (found["hours"], found["km_per_hour"]) == (2.0, pytest.approx(8_047, abs=3))
    assert (found["from_time"], found["to_time"]) == (minutes_ago(150), minutes_ago(30))
    assert [r["who"] for r in ask("impossible_travel", rows, speed="400")] == ["ann", "cid", "bob"]
    assert {r["who"] for r in ask("impossible_travel", rows, distance="20")} == {"ann", "dan"}


def known(user: str, days: int, **what: Any) -> list[Row]:
    return [row(days_ago(2 + n), user=user, **what) for n in range(days)]


def test_first_seen_countries(ask: Ask) -> None:
    rows = [
        *known("ann", 3, country="SE"),
        row(minutes_ago(60), "203.0.113.1", user="ann", country="BR"),
        row(minutes_ago(50), "203.0.113.2", user="ann", country="BR"),
        row(minutes_ago(40), user="ann", country="SE"),
        *known("bob", 2, country="SE"),  # seen on two days only: hardly known
        row(minutes_ago(60), user="bob", country="BR"),
        *known("cid", 5, country="SE"),
        row(days_ago(29), user="cid", country="BR"),  # was there four weeks ago
        row(minutes_ago(60), user="cid", country="BR"),
        *known("dan", 5, country="SE"),
        row(minutes_ago(60), status=401, user="dan", country="BR"),  # was refused
        row(minutes_ago(60), user="eve", country="BR"),  # is new altogether
        *known("fay", 5, country="SE"),
        row(minutes_ago(60), user="fay"),  # from nobody knows where
    ]
    (found,) = ask("first_seen_countries", rows)
    assert found == {
        "who": "ann",
        "country": "BR",
        "first_seen": minutes_ago(60),
        "first_address": "203.0.113.1",
        "addresses": 2,
        "requests_made": 2,
        "countries_before": ["SE"],
        "days_before": 3,
    }
    assert [r["who"] for r in ask("first_seen_countries", rows, history="20 days", days="2")] == ["ann", "bob", "cid"]


def test_first_seen_devices(ask: Ask) -> None:
    firefox: dict[str, Any] = {"browser": "Firefox", "os": "Linux", "device": "desktop"}
    curl: dict[str, Any] = {"browser": "curl", "device": "other"}
    rows = [
        *known("ann", 4, **firefox),
        row(minutes_ago(5), "203.0.113.1", user="ann", country="BR", **curl),
        row(minutes_ago(4), user="ann", **firefox, user_agent_version="140"),  # an update is no new device
        *known("bob", 4, **curl),
        row(minutes_ago(5), user="bob", **curl),
        *known("cid", 2, **firefox),
        row(minutes_ago(5), user="cid", **curl),
        *known("dan", 4, **firefox),
        row(minutes_ago(5), user="dan", status=403, **curl),
    ]
    (found,) = ask("first_seen_devices", rows)
    assert (found["who"], found["device"], found["first_address"], found["first_country"]) == ("ann", "curl, other", "203.0.113.1", "BR")
    assert (found["devices_before"], found["days_before"], found["first_seen"]) == (["Firefox, Linux, desktop"], 4, minutes_ago(5))


def test_session_spread(ask: Ask) -> None:
    def moves(user: str, addresses: int, networks: int, apart: float, status: int = 200) -> list[Row]:
        return [
            row(minutes_ago(600 - n * apart), f"203.0.113.{n}", status, user=user, network=n % networks, country="SE")
            for n in range(addresses)
        ]

    rows = [
        *moves("ann", 7, 4, 5),
        *moves("bob", 7, 4, 40),  # within many hours
        *moves("cid", 7, 1, 5),  # a network that gives each request another address
        *moves("dan", 4, 4, 5),  # home, office, telephone, train
        *moves("eve", 9, 4, 5, status=401),  # was not let in
    ]
    (found,) = ask("session_spread", rows)
    assert (found["who"], found["peak_addresses"], found["peak_networks"], found["all_addresses"]) == ("ann", 7, 4, 7)
    assert (found["countries"], found["requests_made"], found["peak_ends"]) == (["SE"], 7, minutes_ago(600 - 30))
    assert [r["who"] for r in ask("session_spread", rows, within="6 hours")] == ["ann", "bob"]
    assert [r["who"] for r in ask("session_spread", rows, networks="1")] == ["ann", "cid"]


def test_admin_out_of_hours(ask: Ask) -> None:
    rows = [
        row(at("03-11 02:00"), "203.0.113.1", user="ann", path="/admin/users", method="POST"),
        row(at("03-11 02:05"), "203.0.113.1", user="ann", path="/admin"),
        row(at("03-11 09:00"), "203.0.113.2", user="bob", path="/admin/users", method="POST"),  # at work
        row(at("03-11 03:00"), "203.0.113.3", user="cid", path="/administer-the-world"),  # another page
        row(at("03-11 03:00"), "203.0.113.4", path="/wp-admin/", status=404),  # a scan
        row(at("03-11 06:30"), "203.0.113.5", user="dan", path="/Console/"),  # early, in UTC
        row(at("03-08 11:00"), "203.0.113.6", user="eve", path="/admin"),  # a Sunday
    ]
    found = ask("admin_out_of_hours", rows)
    assert [(r["who"], r["requests_made"], r["changes"]) for r in found] == [("ann", 2, 1), ("dan", 1, 0)]
    assert found[0]["paths"] == ["/admin", "/admin/users"]
    assert str(found[0]["first_local"]) == "2026-03-11 02:00:00"
    in_berlin = ask("admin_out_of_hours", rows, zone="Europe/Berlin")
    assert [(r["who"], str(r["first_local"])) for r in in_berlin] == [("ann", "2026-03-11 03:00:00")]
    assert [r["who"] for r in ask("admin_out_of_hours", rows, window="4 days")] == ["ann", "dan", "eve"]
    assert [r["who"] for r in ask("admin_out_of_hours", rows, window="4 days", weekend="8")] == ["ann", "dan"]


def test_token_reuse(ask: Ask) -> None:
    def used(when: float, token: str, country: str, status: int = 200) -> Row:
        return row(
            minutes_ago(when), f"203.0.113.{len(country) + ord(country[0])}", status, labels=f'{{"token_id": "{token}"}}', country=country
        )

    rows = [
        *(used(when, "aa", country) for when, country in ((90, "SE"), (70, "BR"), (60, "SE"))),
        *(used(when, "bb", country) for when, country in ((900, "SE"), (70, "BR"))),  # a journey
        *(used(when, "cc", "SE") for when in range(50)),
        *(used(when, "dd", country, status) for when, country, status in ((90, "SE", 200), (70, "BR", 401))),  # did not work there
        row(minutes_ago(20), account_id="acc-1", country="SE"),
        row(minutes_ago(19), account_id="acc-1", country="BR"),
        row(minutes_ago(18), country="SE"),  # no token at all
        row(minutes_ago(18), country="BR"),
    ]
    found = ask("token_reuse", rows)
    assert [(r["token"], r["countries_at_once"], r["countries"], r["requests_made"]) for r in found] == [
        ("aa", 2, ["BR", "SE"], 3),
        ("acc-1", 2, ["BR", "SE"], 2),
    ]
    assert (found[0]["first_noticed"], found[0]["addresses"]) == (minutes_ago(70), 2)
    assert [r["token"] for r in ask("token_reuse", rows, within="20h")] == ["aa", "acc-1", "bb"]
    assert [r["token"] for r in ask("token_reuse", rows, token="$.other")] == ["acc-1"]


def test_dormant_accounts(ask: Ask) -> None:
    rows = [
        row(days_ago(100), user="ann", country="SE"),
        row(days_ago(50), user="ann", country="SE"),
        row(minutes_ago(100), "203.0.113.1", user="ann", country="BR"),
        row(minutes_ago(90), "203.0.113.2", user="ann", country="BR"),
        row(days_ago(20), user="bob"),  # a holiday
        row(minutes_ago(100), user="bob"),
        row(days_ago(50), user="cid"),  # still quiet
        row(minutes_ago(100), user="dan"),  # new
        row(days_ago(50), user="eve"),
        row(minutes_ago(100), user="eve", status=401),  # somebody tried
        row(days_ago(60), user="fay"),
        row(days_ago(5), user="fay", status=403),  # was refused lately, which is no use
        row(minutes_ago(100), user="fay"),
    ]
    found = ask("dormant_accounts", rows)
    assert [(r["who"], r["days_quiet"]) for r in found] == [("fay", 60), ("ann", 50)]
    ann = found[1]
    assert (ann["last_before"], ann["awake_since"], ann["new_address"]) == (days_ago(50), minutes_ago(100), "203.0.113.1")
    assert (ann["requests_made"], ann["old_countries"], ann["new_countries"]) == (2, ["SE"], ["BR"])
    assert [r["who"] for r in ask("dormant_accounts", rows, quiet="2w")] == ["fay", "ann", "bob"]


def test_subject_timeline(ask: Ask) -> None:
    rows = [
        row(minutes_ago(10), "203.0.113.1", user="ann", path="/b", bytes=7, nanoseconds=5_000_000),
        row(minutes_ago(20), "203.0.113.2", user="ann", path="/a"),
        row(minutes_ago(10), "203.0.113.1", account_id="ann", path="/c"),
        row(minutes_ago(10), "203.0.113.1", user="Ann", path="/d"),  # another
        row(minutes_ago(10), "203.0.113.1", user="ann%", path="/e"),  # no pattern
        row(days_ago(2), user="ann", path="/f"),
    ]
    found = ask("subject_timeline", rows, subject="ann")
    assert [(r["event_time"], r["url_path"]) for r in found] == [(minutes_ago(20), "/a"), (minutes_ago(10), "/b"), (minutes_ago(10), "/c")]
    assert (found[1]["bytes"], found[1]["milliseconds"], found[1]["status"], found[1]["method"]) == (7, 5, 200, "GET")
    assert [r["url_path"] for r in ask("subject_timeline", rows, subject="203.0.113.1")] == ["/b", "/c", "/d", "/e"]
    assert [r["url_path"] for r in ask("subject_timeline", rows, subject="ann", most="1", window="3d")] == ["/f"]
    assert ask("subject_timeline", rows, subject="' OR true --") == []


def test_the_present_and_the_window_are_bounds(ask: Ask) -> None:
    rows = [row(NOW, user="ann"), row(days_ago(1), user="ann"), row(NOW.replace(second=1), user="ann")]
    assert [r["event_time"] for r in ask("subject_timeline", rows, subject="ann")] == [NOW]

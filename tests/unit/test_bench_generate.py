"""The load generator: what benchmarks stand on."""

import datetime as dt
import hashlib
import ipaddress
import re

import pytest

from bench.generate import CHUNK, generate

DAY = dt.date(2015, 5, 17)
LINE = re.compile(r'(\S+) - - \[([^\]]+)\] "(.*)" (\d{3}) (\d+|-) "(.*)" "(.*)"')


def _lines(count: int, seed: int = 1, days: int = 1) -> list[str]:
    text = b"".join(generate(count, seed, DAY, days)).decode()
    assert text == "" or text.endswith("\n")
    return text.split("\n")[:-1]


def test_the_same_seed_gives_the_same_bytes() -> None:
    first, again, other = (hashlib.sha256(b"".join(generate(3_000, seed, DAY))).digest() for seed in (7, 7, 8))
    assert first == again
    assert first != other


def test_it_writes_as_many_lines_as_asked_also_across_chunks() -> None:
    assert [len(_lines(count)) for count in (0, 1, 2, 999)] == [0, 1, 2, 999]
    assert len(_lines(CHUNK + 1)) == CHUNK + 1


def test_lines_are_of_the_combined_format_and_times_ascend_within_the_span() -> None:
    matches = [LINE.fullmatch(line) for line in _lines(20_000, days=3)]
    good = [match for match in matches if match]
    assert 0.999 < len(good) / len(matches) < 1, "one line in ten thousand is cut short"
    times = [dt.datetime.strptime(match[2], "%d/%b/%Y:%H:%M:%S %z") for match in good]
    assert times == sorted(times)
    assert {time.date() for time in times} == {DAY + dt.timedelta(days=n) for n in range(3)}


def test_addresses_and_agents_are_as_many_as_on_a_busy_site() -> None:
    lines = [match for line in _lines(100_000) if (match := LINE.fullmatch(line))]
    addresses = {ipaddress.ip_address(match[1]) for match in lines}
    assert 9_000 < len(addresses) < 11_000
    assert 0.18 < sum(address.version == 6 for address in addresses) / len(addresses) < 0.22
    assert 2_500 < len({match[7] for match in lines}) <= 5_000


def test_more_lines_have_more_agents(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.generate.LINES_PER_ADDRESS", 1_000)
    first = bytes(next(generate(2_000_000, 1, DAY))).splitlines()
    assert 6_000 < len({line.rsplit(b'" "', 1)[1] for line in first if line.endswith(b'"')}) <= 10_000

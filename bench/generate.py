"""Writes log lines of the ``combined`` format as a busy site would: many of them, and the same bytes for the same seed.

Requests, statuses and referrers come from real lines, agents by weight from real traffic. What decides the cost of enriching
is kept at its real size, and grows with the lines: for each million of them about 100,000 distinct addresses (a fifth of them
IPv6) and 5,000 distinct agents, all of which may come at any time; fewer lines draw from as many agents as a million. One
request in ten carries a query seen nowhere else, sizes vary, and one line in ten thousand is cut short. Times ascend over a
span of days.

    python -m bench.generate 1000000 --seed 1 --day 2015-05-17 --days 4 --out access.log
"""

import argparse
import datetime as dt
import gzip
import ipaddress
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

__all__ = ["generate", "main"]

HERE = Path(__file__).resolve().parent
REAL_LINES = HERE.parent / "tests" / "data" / "logs" / "apache-combined" / "access.log"
REAL_AGENTS = HERE / "data" / "user-agents.tsv.gz"

LINES_PER_ADDRESS = 9.5
AGENTS_PER_MILLION = 5_000
COMMON_AGENTS_SHARE = 0.9
"""Part of the traffic that the agents of REAL_AGENTS make; the rest is the long tail."""
CHUNK = 250_000
"""Lines made at once: bounds memory, and is part of what the bytes depend on."""

_REAL = re.compile(rb'^\S+ \S+ \S+ \[[^\]]+\] "(?P<request>.*)" (?P<status>\d{3}) (?P<size>\d+|-) "(?P<referrer>.*)" "(?P<agent>.*)"$')
_IPV6_BLOCKS = (0x2001, 0x2400, 0x2406, 0x2409, 0x2600, 0x2601, 0x2607, 0x2804, 0x2A00, 0x2A01, 0x2A02, 0x2A09)

Random = np.random.Generator
Numbers = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Site:
    """What the lines are drawn from.

    :param requests: request lines as logged, escaped, without quotes.
    :param statuses: status of each request, then a blank.
    :param sizes: bytes of each response, int64; -1 where the log says ``-``.
    :param referrers: referrer of each request.
    :param agents: distinct agents; ``agent_odds`` their cumulative probabilities.
    """

    requests: pa.Array
    statuses: pa.Array
    sizes: Numbers
    referrers: pa.Array
    agents: pa.Array
    agent_odds: Numbers


def generate(count: int, seed: int, day: dt.date, days: int = 1) -> Iterator[memoryview]:
    """``count`` lines, in pieces of whole lines, each ending in a newline.

    :param seed: equal arguments give equal bytes.
    :param day: the first UTC day; times ascend from its beginning over ``days`` days.
    """
    random = np.random.default_rng(seed)
    site = _site(random, max(1_000_000, count) * AGENTS_PER_MILLION // 1_000_000)
    addresses, odds = _addresses(random, max(1, round(count / LINES_PER_ADDRESS)))
    seconds = np.sort(random.integers(0, days * 86_400, count))
    for start in range(0, count, CHUNK):
        yield _lines(random, site, addresses, odds, _times(day, seconds[start : start + CHUNK]))


def _lines(random: Random, site: Site, addresses: pa.Array, odds: Numbers, times: pa.Array) -> memoryview:
    count = len(times)
    who = np.searchsorted(odds, random.random(count))
    what = random.integers(0, len(site.requests), count)
    agent = np.searchsorted(site.agent_odds, random.random(count))
    columns = [
        *(addresses.take(who), b" - - [", times, b'] "', _requests(random, site.requests.take(what)), b'" '),
        *(site.statuses.take(what), _sizes(random, site.sizes[what]), b' "', site.referrers.take(what), b'" "'),
        *(site.agents.take(agent), pc.if_else(random.random(count) < 1e-4, b"\n", b'"\n')),
    ]
    # The values of an Arrow column lie one after the other: they are the text.
    lines = pc.binary_join_element_wise(*(_binary(column) for column in columns), b"")
    offsets = np.frombuffer(lines.buffers()[1], dtype=np.int32)
    return memoryview(lines.buffers()[2])[offsets[0] : offsets[count]]


def _binary(column: Any) -> Any:
    return pa.scalar(column, pa.binary()) if isinstance(column, bytes) else column.cast(pa.binary())


def _times(day: dt.date, seconds: Numbers) -> pa.Array:
    distinct, inverse = np.unique(seconds, return_inverse=True)
    start = np.datetime64(day, "s").astype(np.int64)
    return pc.strftime(pa.array(start + distinct, pa.timestamp("s")), format="%d/%b/%Y:%H:%M:%S +0000").take(pa.array(inverse))


def _requests(random: Random, requests: pa.Array) -> pa.Array:
    """One in ten of those that have no query yet gets one of its own."""
    fresh = pa.array(random.integers(0, 2**63, len(requests))).cast(pa.string()).cast(pa.binary())
    chosen = pc.and_not(pa.array(random.random(len(requests)) < 0.1), pc.match_substring(requests, "?"))
    parts = pc.split_pattern(requests, " ", max_splits=1, reverse=True)
    whole = pc.equal(pc.list_value_length(parts), 2)
    safe = pc.if_else(whole, parts, pa.scalar([b"", b""], parts.type))
    queried = pc.binary_join_element_wise(pc.list_element(safe, 0), b"?id=", fresh, b" ", pc.list_element(safe, 1), b"")
    return pc.if_else(pc.and_(chosen, whole), queried, requests)


def _sizes(random: Random, sizes: Numbers) -> pa.Array:
    varied = pa.array(sizes + random.integers(0, 4_096, len(sizes))).cast(pa.string())
    return pc.if_else(sizes < 0, "-", varied)


def _site(random: Random, agents_wanted: int) -> Site:
    matches = [match for line in REAL_LINES.read_bytes().splitlines() if (match := _REAL.match(line))]
    agents, odds = _agents(random, sorted({match["agent"] for match in matches}), agents_wanted)
    return Site(
        requests=pa.array([match["request"] for match in matches], pa.binary()),
        statuses=pa.array([match["status"] + b" " for match in matches], pa.binary()),
        sizes=np.array([-1 if match["size"] == b"-" else int(match["size"]) for match in matches]),
        referrers=pa.array([match["referrer"] for match in matches], pa.binary()),
        agents=pa.array(agents, pa.binary()),
        agent_odds=odds,
    )


def _agents(random: Random, logged: list[bytes], wanted: int) -> tuple[list[bytes], Numbers]:
    """Agents of real traffic with their weights, then a tail: those of the real log, and further builds of all of them."""
    rows = [line.split(b"\t", 1) for line in gzip.decompress(REAL_AGENTS.read_bytes()).splitlines()]
    common = [agent.replace(b"\\", b"\\\\").replace(b'"', b'\\"') for _, agent in rows]
    agents = list(dict.fromkeys([*common, *logged]))
    known = set(agents)
    while len(agents) < wanted:
        other = _other_build(random, agents[int(random.integers(0, len(common) + len(logged)))])
        if other not in known:
            known.add(other)
            agents.append(other)
    weights = np.array([float(weight) for weight, _ in rows])
    tail = 1 / np.arange(20, 20 + len(agents) - len(common))
    odds = np.concatenate([weights / weights.sum() * COMMON_AGENTS_SHARE, tail / tail.sum() * (1 - COMMON_AGENTS_SHARE)])
    return agents, _cumulative(odds)


def _other_build(random: Random, agent: bytes) -> bytes:
    """The agent with the last number of one of its versions changed."""
    numbers = list(re.finditer(rb"(?<=[._])\d{1,5}\b", agent))
    if not numbers:
        return b"%s build/%d" % (agent, random.integers(1, 1_000))
    number = numbers[int(random.integers(0, len(numbers)))]
    return b"%s%d%s" % (agent[: number.start()], random.integers(0, 400), agent[number.end() :])


def _addresses(random: Random, count: int) -> tuple[pa.Array, Numbers]:
    """Distinct public addresses in text, every fifth an IPv6 one, and their cumulative probabilities: few make most requests."""
    v4 = _ipv4(random, count - count // 5)
    prefixes = np.array(_IPV6_BLOCKS, dtype=np.uint64)[random.integers(0, len(_IPV6_BLOCKS), count // 5)]
    networks = (prefixes << np.uint64(48)) | random.integers(0, 2**48, count // 5, dtype=np.uint64)
    hosts = random.integers(0, 2**64, count // 5, dtype=np.uint64)
    v6 = [str(ipaddress.IPv6Address((int(network) << 64) | int(host))) for network, host in zip(networks, hosts, strict=True)]
    weights = random.lognormal(0, 1.1, count)
    order = random.permutation(count)
    return pa.array([*v4, *v6]).take(pa.array(order)), _cumulative(weights)


def _cumulative(weights: Numbers) -> Numbers:
    odds: Numbers = np.cumsum(weights) / weights.sum()
    odds[-1] = 1.0  # rounding must not leave a gap at the end
    return odds


def _ipv4(random: Random, count: int) -> list[str]:
    found: dict[str, None] = {}
    while len(found) < count:
        for number in random.integers(1 << 24, 224 << 24, count - len(found)):
            address = ipaddress.IPv4Address(int(number))
            if address.is_global:
                found.setdefault(str(address))
    return list(found)


def _write(out: BinaryIO, pieces: Iterator[memoryview]) -> None:
    for piece in pieces:
        out.write(piece)


def main(arguments: list[str] | None = None) -> None:
    """The command; ``--out`` is standard output unless given."""
    parser = argparse.ArgumentParser(prog="python -m bench.generate", description="Write seeded lines of the combined format.")
    parser.add_argument("count", type=int, help="how many lines")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, help="file to write; standard output without it")
    parser.add_argument("--day", type=dt.date.fromisoformat, default=dt.date(2015, 5, 17), help="first UTC day (2015-05-17)")
    parser.add_argument("--days", type=int, default=4, help="days that the times span (4)")
    options = parser.parse_args(arguments)
    if options.count < 0 or options.days < 1:
        parser.error("count may not be negative, and days must be 1 or more")
    pieces = generate(options.count, options.seed, options.day, options.days)
    if options.out is None:
        _write(sys.stdout.buffer, pieces)
        return
    with options.out.open("wb") as out:
        _write(out, pieces)


if __name__ == "__main__":
    main()

"""Addresses in every dress a log gives them, against Python's own ipaddress."""

import ipaddress
import socket

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.address_numbers import ipv4_numbers, ipv6_halves
from transforms.addresses import Addresses


def read(*texts: str | None) -> list[tuple[str | None, int | None]]:
    batch = Addresses().apply(pa.RecordBatch.from_pydict({"source_address": pa.array(texts, pa.string())}))
    assert batch["source_address"].to_pylist() == list(texts)
    return list(zip(batch["source_ip"].to_pylist(), batch["source_port"].to_pylist(), strict=True))


@pytest.mark.parametrize(
    ("text", "ip", "port"),
    [
        ("1.2.3.4", "1.2.3.4", None),
        ("255.255.255.255", "255.255.255.255", None),
        ("1.2.3.4:5678", "1.2.3.4", 5678),
        ("1.2.3.4:", "1.2.3.4", None),
        ("[1.2.3.4]:80", "1.2.3.4", 80),
        ("2001:DB8:0:0::1", "2001:db8::1", None),
        ("[2001:db8::1]", "2001:db8::1", None),
        ("[::1]:8080", "::1", 8080),
        ("fe80::1%eth0", "fe80::1", None),
        ("[fe80::1%25eth0]:443", "fe80::1", 443),
        ("::ffff:1.2.3.4", "1.2.3.4", None),
        ("::FFFF:102:304", "1.2.3.4", None),
        ("[::ffff:1.2.3.4]:9", "1.2.3.4", 9),
        ("256.1.1.1", None, None),
        ("01.2.3.4", None, None),
        ("1.2.3", None, None),
        ("1.2.3.4\n", None, None),
        ("1.2.3.4:65536", None, None),
        ("1.2.3.4:http", None, None),
        ("[::1", None, None),
        ("[::1]x", None, None),
        ("host.example", None, None),
        ("host.example:80", None, None),
        ("unknown", None, None),
        ("-", None, None),
        ("", None, None),
        (None, None, None),
        ("1:\x00", None, None),
        ("[" * 100_000, None, None),
        ("::1%" + "z" * 1_000_000, None, None),
    ],
)
def test_one_address(text: str | None, ip: str | None, port: int | None) -> None:
    assert read(text, "9.9.9.9", text) == [(ip, port), ("9.9.9.9", None), (ip, port)]


def test_an_address_the_log_gives_is_made_canonical_and_a_port_it_gives_stays() -> None:
    columns = {
        "source_address": pa.array(["proxy", None, "5.6.7.8:90"]),
        "source_ip": pa.array(["::FFFF:1.2.3.4", "2001:DB8::0", "no address"]),
        "source_port": pa.array([None, 1, 2], pa.int32()),
    }
    batch = Addresses().apply(pa.RecordBatch.from_pydict(columns))
    assert batch["source_ip"].to_pylist() == ["1.2.3.4", "2001:db8::", "5.6.7.8"]
    assert batch["source_address"].to_pylist() == ["proxy", "2001:DB8::0", "5.6.7.8:90"]
    assert batch["source_port"].to_pylist() == [None, 1, 2]


@given(st.lists(st.one_of(st.ip_addresses().map(str), st.text("0123456789abcdefABCDEF.:%[]x", max_size=25)), max_size=20))
def test_agrees_with_ipaddress(texts: list[str]) -> None:
    for text, (ip, _) in zip(texts, read(*texts), strict=True):
        try:
            parsed = ipaddress.ip_address(text)
        except ValueError:
            continue
        mapped = getattr(parsed, "ipv4_mapped", None)
        assert ip is not None
        assert ipaddress.ip_address(ip) == (mapped or ipaddress.ip_address(text.partition("%")[0]))
        assert ip == ip.lower()
        if parsed.version == 6 and mapped is None and "." not in ip:
            assert ip == str(parsed).partition("%")[0]


@given(st.lists(st.one_of(st.none(), st.ip_addresses().map(str), st.text(max_size=9)), max_size=20))
def test_numbers_are_those_of_ipaddress(texts: list[str | None]) -> None:
    array = pa.array(texts, pa.string())
    is4, numbers = ipv4_numbers(array)
    is6, high, low = ipv6_halves(array)
    four = iter(numbers.tolist())
    six = iter([h << 64 | n for h, n in zip(high.tolist(), low.tolist(), strict=True)])
    for text, plain, wide in zip(texts, is4, is6, strict=True):
        if plain:
            assert next(four) == int(ipaddress.IPv4Address(text))
        elif wide:
            assert next(six) == int(ipaddress.IPv6Address(text))
        elif text is not None:
            with pytest.raises(ValueError, match=r".*"):
                ipaddress.ip_address(text)


GROUPS = st.sampled_from(["0", "0", "1", "a", "ff", "10", "ffff", "2001", "00", "0a", "FF"])


@given(st.lists(GROUPS, min_size=0, max_size=8), st.lists(GROUPS, min_size=0, max_size=8), st.sampled_from(["::", ":"]))
def test_ipv6_in_any_spelling_is_given_in_the_canonical_one(front: list[str], back: list[str], between: str) -> None:
    text = ":".join(front) + between + ":".join(back)
    ((ip, port),) = read(text)
    try:
        packed = socket.inet_pton(socket.AF_INET6, text)
    except OSError:
        assert ip is None or ":" not in ip
        return
    mapped = ipaddress.IPv6Address(packed).ipv4_mapped
    assert (ip, port) == (str(mapped) if mapped else socket.inet_ntop(socket.AF_INET6, packed), None)

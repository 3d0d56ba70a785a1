"""Clients behind proxies: one by one, against a plain walk, and against clients who forge headers."""

import ipaddress
import json
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core import schema
from core.errors import UsageError
from transforms.addresses import Addresses
from transforms.proxies import Proxies, network

TRUSTED = ("10.0.0.0/8", "192.0.2.7", "2001:db8::/32", "::ffff:172.16.0.0/108")
HEADERS = ("forwarded_for", "client_address", "forwarded")
Row = dict[str, Any]


def batch_of(**columns: list[Any]) -> pa.RecordBatch:
    return pa.RecordBatch.from_pydict({name: pa.array(values, schema.input_type(name)) for name, values in columns.items()})


def rows_of(trusted: tuple[str, ...] = TRUSTED, /, **columns: list[Any]) -> list[Row]:
    batch = Proxies(trusted).apply(Addresses().apply(batch_of(**columns)))
    batch.validate(full=True)
    assert not set(batch.schema.names) & set(HEADERS), "the columns of headers are taken away"
    return [{name: value for name, value in row.items() if value is not None} for row in batch.to_pylist()]


def client(peer: str, **headers: str | None) -> str | None:
    """The address found for one request, between two others that must not disturb it."""
    columns = {name: ["1.1.1.1", value, "2.2.2.2"] for name, value in headers.items()}
    before, row, after = rows_of(source_address=["9.9.9.9", peer, None], **columns)
    assert (before, after) == ({"source_address": "9.9.9.9", "source_ip": "9.9.9.9"}, {})
    found = row.get("source_ip")
    if found != Addresses().apply(batch_of(source_address=[peer]))["source_ip"][0].as_py():
        assert json.loads(row["labels"])["peer_address"] in peer
    return found


@pytest.mark.parametrize(
    ("header", "wanted"),
    [
        ("81.2.69.143", "81.2.69.143"),
        ("81.2.69.143, 10.1.1.1", "81.2.69.143"),
        ("1.2.3.4, 81.2.69.143,10.1.1.1 ,\t192.0.2.7", "81.2.69.143"),
        ("172.16.3.4", "172.16.3.4"),
        ("192.0.2.8", "192.0.2.8"),
        ("10.1.1.1, 10.2.2.2", "10.1.1.1"),
        ("2A00:1450::5, 2001:db8::1", "2a00:1450::5"),
        ("[2a00:1450::5]:443, 10.1.1.1:99", "2a00:1450::5"),
        ("::ffff:81.2.69.143, ::ffff:10.1.1.1", "81.2.69.143"),
        ("fe80::1%eth0", "fe80::1"),
        ("10.0.0.1", "10.0.0.1"),
        ("81.2.69.143, unknown", "10.0.0.1"),
        ("81.2.69.143, unknown, 10.1.1.1", "10.1.1.1"),
        ("81.2.69.143, , 10.1.1.1", "10.1.1.1"),
        ("81.2.69.143,", "10.0.0.1"),
        ("81.2.69.143 10.1.1.1", "10.0.0.1"),
        ("01.2.3.4", "10.0.0.1"),
        ("::1%token=x", "10.0.0.1"),
        ("'; DROP TABLE requests; --, 10.1.1.1", "10.1.1.1"),
        ("nonsense", "10.0.0.1"),
        ("-", "10.0.0.1"),
        ("", "10.0.0.1"),
        (None, "10.0.0.1"),
    ],
)
def test_forwarded_for(header: str | None, wanted: str) -> None:
    assert client("10.0.0.1", forwarded_for=header) == wanted


@pytest.mark.parametrize(
    ("header", "wanted"),
    [
        ("for=81.2.69.143", "81.2.69.143"),
        ("For=81.2.69.143;proto=http;by=10.0.0.1", "81.2.69.143"),
        ("proto=http ; FOR=81.2.69.143", "81.2.69.143"),
        ('for=1.2.3.4, for="81.2.69.143:4711";host="a,b;c\\"", for=10.1.1.1', "81.2.69.143"),
        ('for="[2a00:1450::5]:4711", for="[2001:db8::1]"', "2a00:1450::5"),
        ("for=[2a00:1450::5]", "2a00:1450::5"),
        ('for="81.2.69\\.143"', "81.2.69.143"),
        ("for=81.2.69.143;;", "81.2.69.143"),
        ("for=81.2.69.143, for=_hidden", "10.0.0.1"),
        ("for=81.2.69.143, for=unknown, for=10.1.1.1", "10.1.1.1"),
        ("for=81.2.69.143, proto=http", "10.0.0.1"),
        ("for=81.2.69.143;for=1.2.3.4", "10.0.0.1"),
        ('for="81.2.69.143, 1.2.3.4"', "10.0.0.1"),
        ('for=", for=81.2.69.143', "10.0.0.1"),
        ("for=81.2.69.143 1.2.3.4", "10.0.0.1"),
        ("for = 81.2.69.143", "10.0.0.1"),
        ("for=", "10.0.0.1"),
        ("81.2.69.143", "10.0.0.1"),
        ("for=81.2.69.143,", "10.0.0.1"),
        ("-", "10.0.0.1"),
        (None, "10.0.0.1"),
    ],
)
def test_forwarded(header: str | None, wanted: str) -> None:
    assert client("10.0.0.1", forwarded=header) == wanted


@pytest.mark.parametrize(
    ("header", "wanted"),
    [
        ("81.2.69.143", "81.2.69.143"),
        (" 81.2.69.143 ", "81.2.69.143"),
        ("2A00:1450::5", "2a00:1450::5"),
        ("81.2.69.143:4711", "81.2.69.143"),
        ("10.1.1.1", "10.1.1.1"),
        ("1.2.3.4, 81.2.69.143", "10.0.0.1"),
        ("unknown", "10.0.0.1"),
        ("-", "10.0.0.1"),
        (None, "10.0.0.1"),
    ],
)
def test_client_address(header: str | None, wanted: str) -> None:
    assert client("10.0.0.1", client_address=header) == wanted


@pytest.mark.parametrize("peer", ["9.9.9.9", "11.0.0.1", "192.0.2.6", "192.0.2.8", "2001:db9::1", "::1", "::ffff:9.9.9.9", "proxy.example"])
def test_headers_of_a_stranger_are_not_believed(peer: str) -> None:
    found = client(peer, forwarded_for="81.2.69.143", client_address="81.2.69.143", forwarded="for=81.2.69.143")
    assert found == Addresses().apply(batch_of(source_address=[peer]))["source_ip"][0].as_py()


@pytest.mark.parametrize("peer", ["10.0.0.0", "10.255.255.255", "192.0.2.7", "2001:DB8:0::", "[2001:db8:ffff::1]:80", "::ffff:10.1.2.3"])
def test_peers_that_are_believed(peer: str) -> None:
    batch = rows_of(source_address=[peer], forwarded_for=["81.2.69.143"])
    assert batch[0]["source_ip"] == "81.2.69.143"


def test_address_and_port_are_the_clients_and_the_peer_is_kept() -> None:
    columns: dict[str, list[Any]] = {
        "source_address": ["10.0.0.1:99", "10.0.0.1", "10.0.0.1", "10.0.0.1:99"],
        "source_port": [None, 7, None, None],
        "labels": [None, '{"a":"b"}', "{}", '{"a":1}'],
        "forwarded_for": ["[2A00:1450::5]:443", "81.2.69.143", "81.2.69.143:80", "unknown"],
    }
    assert rows_of(**columns) == [
        {
            "source_address": "[2A00:1450::5]:443",
            "source_ip": "2a00:1450::5",
            "source_port": 443,
            "labels": '{"peer_address":"10.0.0.1","peer_port":99}',
        },
        {"source_address": "81.2.69.143", "source_ip": "81.2.69.143", "labels": '{"a":"b","peer_address":"10.0.0.1","peer_port":7}'},
        {"source_address": "81.2.69.143:80", "source_ip": "81.2.69.143", "source_port": 80, "labels": '{"peer_address":"10.0.0.1"}'},
        {"source_address": "10.0.0.1:99", "source_ip": "10.0.0.1", "source_port": 99, "labels": '{"a":1}'},
    ]


@pytest.mark.parametrize(
    ("labels", "wanted"),
    [
        ('{"peer_address":"mine"}', '{"peer_address":"mine"}'),
        ('{"a":"peer_address"}', '{"a":"peer_address","peer_address":"10.0.0.1"}'),
        ('{"a":{"peer_address":1}}', '{"a":{"peer_address":1},"peer_address":"10.0.0.1"}'),
        ('{"a":"\\"peer_address\\":"}', '{"a":"\\"peer_address\\":","peer_address":"10.0.0.1"}'),
        ('{"peer_address" broken}', '{"peer_address" broken}'),
        ("no object", "no object"),
    ],
)
def test_a_label_that_is_there_already_stays(labels: str, wanted: str) -> None:
    (row,) = rows_of(source_address=["10.0.0.1"], forwarded_for=["81.2.69.143"], labels=[labels])
    assert (row["source_ip"], row["labels"]) == ("81.2.69.143", wanted)


def test_the_first_header_that_is_there_is_the_only_one_walked() -> None:
    headers = {"forwarded_for": "1.1.1.1", "client_address": "2.2.2.2", "forwarded": "for=3.3.3.3"}
    assert client("10.0.0.1", **headers) == "1.1.1.1"
    assert client("10.0.0.1", **headers | {"forwarded_for": None}) == "2.2.2.2"
    assert client("10.0.0.1", **headers | {"forwarded_for": " - "}) == "2.2.2.2"
    assert client("10.0.0.1", **headers | {"forwarded_for": "unknown"}) == "10.0.0.1", "it does not fall through to what may be forged"
    assert client("10.0.0.1", forwarded_for="", client_address=None, forwarded="for=3.3.3.3") == "3.3.3.3"
    batch = Addresses().apply(batch_of(source_address=["10.0.0.1"], **{name: [value] for name, value in headers.items()}))
    for order, wanted in ((("client_address", "forwarded_for"), "2.2.2.2"), (("forwarded",), "3.3.3.3"), ((), "10.0.0.1")):
        result = Proxies(TRUSTED, order).apply(batch)
        assert result["source_ip"].to_pylist() == [wanted]
        assert not set(result.schema.names) & set(HEADERS)


def test_a_list_in_place_of_the_client() -> None:
    lists = [
        "10.0.0.2, 10.0.0.1, 81.2.69.143",
        "7.7.7.7, 81.2.69.143:80, 10.0.0.1:99",
        'say "hi" é, 10.0.0.1',
        "81.2.69.143, unknown",
        "unknown, 81.2.69.143",
        "fe80::1%x, 2a00:1450::5",
        "host, a",
    ]
    own = ["1.1.1.1"] * len(lists)
    rows = rows_of(source_address=lists, client_address=own, forwarded_for=own)
    assert [row.get("source_ip") for row in rows] == ["81.2.69.143", "81.2.69.143", "10.0.0.1", None, "81.2.69.143", "2a00:1450::5", None]
    assert [row["source_address"] for row in rows] == [
        *("81.2.69.143", "81.2.69.143:80", "10.0.0.1", "81.2.69.143, unknown", "81.2.69.143", "2a00:1450::5", "host, a"),
    ]
    assert [json.loads(row.get("labels", "{}")) for row in rows] == [
        {"forwarded_for": lists[0]},
        {"forwarded_for": lists[1], "peer_address": "10.0.0.1", "peer_port": 99},
        {"forwarded_for": lists[2]},
        {},
        {"forwarded_for": lists[4]},
        {"forwarded_for": lists[5]},
        {},
    ]
    assert rows[1]["source_port"] == 80


def test_without_trusted_proxies_the_last_of_a_list_is_the_client() -> None:
    lists, labels = ["1.2.3.4, 10.0.0.1:99", "1.2.3.4"], ['{"forwarded_for":"as logged"}', None]
    assert rows_of((), source_address=lists, labels=labels, forwarded_for=["8.8.8.8", "8.8.8.8"]) == [
        {"source_address": "10.0.0.1:99", "source_ip": "10.0.0.1", "source_port": 99, "labels": '{"forwarded_for":"as logged"}'},
        {"source_address": "1.2.3.4", "source_ip": "1.2.3.4"},
    ]


def test_headers_without_end() -> None:
    """Of an endless header the last hundred addresses and 4 KiB count; what is cut is no address."""
    proxies = ", ".join(["10.1.1.1"] * 98)
    assert client("10.0.0.1", forwarded_for=f"81.2.69.143, {proxies}, 10.2.2.2") == "81.2.69.143"
    assert client("10.0.0.1", forwarded_for=f"81.2.69.143, 10.2.2.2, {proxies}, 10.3.3.3") == "10.2.2.2"
    assert client("10.0.0.1", forwarded_for="1.2.3.4," * 100_000 + "81.2.69.143") == "81.2.69.143"
    assert client("10.0.0.1", forwarded_for="x" * 1_000_000) == "10.0.0.1"
    assert client("10.0.0.1", forwarded_for="81.2.69.143," + " " * 4084 + "10.1.1.1") == "10.1.1.1", "4,104 bytes: the first is cut off"
    assert client("10.0.0.1", forwarded_for="81.2.69.143," + " " * 4076 + "10.1.1.1") == "81.2.69.143", "4,096 bytes"
    assert client("10.0.0.1", forwarded_for="1" * 5 + "81.2.69.143," + " " * 4077 + "10.1.1.1") == "10.1.1.1", "cut within an address"
    assert client("10.0.0.1", forwarded="for=81.2.69.143;a=" + "b" * 4000) == "81.2.69.143"
    assert client("10.0.0.1", forwarded="for=81.2.69.143;a=" + "b" * 5000) == "10.0.0.1"


def test_hostile_forwarded_headers_are_read_in_linear_time() -> None:
    hostile = [" " * 4000, 'a="' + "\\a" * 2000, "a" * 4000, "a=b;" * 1000 + "!", "for=" + "x" * 4000 + " x", '"' * 4000, "\t," * 2000]
    headers = [f"{text}{number}" for text in hostile for number in range(30)]
    found = rows_of(source_address=["10.0.0.1"] * len(headers), forwarded=headers)
    assert {row["source_ip"] for row in found} == {"10.0.0.1"}


def test_a_batch_without_such_columns_is_the_very_same() -> None:
    batch = Addresses().apply(batch_of(source_address=["10.0.0.1", "host", None]))
    assert Proxies(TRUSTED).apply(batch).equals(batch)
    bare = batch_of(http_version=["1.1"])
    assert Proxies(TRUSTED).apply(bare).equals(bare)


def test_a_slice_is_the_same_slice_of_the_result() -> None:
    columns = {
        "source_address": ["10.0.0.1", "9.9.9.9", None, "1.1.1.1, 10.0.0.1"] * 3,
        "forwarded_for": ["1.1.1.1", "2.2.2.2", None, "3.3.3.3"] * 3,
        "labels": [None, '{"a":1}', "{}", '{"b":2}'] * 3,
    }
    batch, proxies = Addresses().apply(batch_of(**columns)), Proxies(TRUSTED)
    assert proxies.apply(batch.slice(3, 6)).to_pylist() == proxies.apply(batch).slice(3, 6).to_pylist()
    assert proxies.apply(batch.slice(0, 0)).num_rows == 0


# --------------------------------------------------------------------------------------------------------- properties


NETWORKS = [ipaddress.ip_network(text) for text in ("10.0.0.0/8", "192.0.2.7/32", "2001:db8::/32", "172.16.0.0/12")]
some_addresses = st.one_of(
    st.sampled_from(["10.0.0.1", "10.9.9.9", "192.0.2.7", "2001:db8::5", "81.2.69.143", "2a00::1", "192.0.2.8"]),
    st.ip_addresses().map(str),
)
elements = st.one_of(some_addresses, st.sampled_from(["unknown", "_x", "", "1.2.3", "host"]), st.text("0.:[]f%a", max_size=6))


def canonical(text: str) -> str | None:
    found: str | None = Addresses().apply(batch_of(source_address=[text]))["source_ip"][0].as_py()
    return found


def is_trusted(ip: str) -> bool:
    return any(ipaddress.ip_address(ip) in found for found in NETWORKS)


def plain_walk(peer: str, chain: list[str]) -> str:
    """The rule, word by word."""
    found = peer
    for element in reversed(chain):
        ip = canonical(element.strip(" \t")) if is_trusted(found) else None
        if ip is None:
            break
        found = ip
    return found


@given(st.lists(st.tuples(some_addresses, st.none() | st.lists(elements, min_size=1, max_size=6)), min_size=1, max_size=12))
def test_as_a_plain_walk_does_it(requests: list[tuple[str, list[str] | None]]) -> None:
    peers = [peer for peer, _ in requests]
    chains = [[] if chain in (None, [""], ["-"]) else chain or [] for _, chain in requests]
    wanted = [plain_walk(canonical(peer) or "", chain) for peer, chain in zip(peers, chains, strict=True)]
    found = rows_of(source_address=peers, forwarded_for=[None if chain is None else ", ".join(chain) for _, chain in requests])
    assert [row["source_ip"] for row in found] == wanted
    for row, peer, chain in zip(found, peers, chains, strict=True):
        assert row["source_ip"] in {canonical(peer), *map(canonical, chain)}, "an address of peer or header"
        assert json.loads(row.get("labels", "{}")).get("peer_address", row["source_ip"]) == canonical(peer)
    listed = [", ".join([*chain, peer]) for peer, chain in zip(peers, chains, strict=True)]
    assert [row["source_ip"] for row in rows_of(source_address=listed)] == wanted
    assert [row["source_ip"] for row in rows_of((), source_address=listed)] == [canonical(peer) for peer in peers]
    quoted = [",".join(f'for="{element}"' for element in chain) or None for chain in chains]
    assert [row["source_ip"] for row in rows_of(source_address=peers, forwarded=quoted)] == wanted


@given(st.lists(st.tuples(st.text(max_size=40), st.text(max_size=40), st.text('for=",;\\1.0:[]', max_size=40)), min_size=1, max_size=8))
def test_what_a_stranger_writes_changes_nothing_and_what_a_client_writes_is_not_reached(headers: list[tuple[str, str, str]]) -> None:
    columns: dict[str, list[Any]] = {name: [row[place] for row in headers] for place, name in enumerate(HEADERS)}
    strangers = [f"81.2.69.{number}" for number in range(len(headers))]
    rows = rows_of(source_address=strangers, **columns)
    assert rows == [{"source_address": address, "source_ip": address} for address in strangers]
    # A proxy appends who spoke to it to what was sent.
    columns["forwarded_for"] = [f"{sent}, {address}" for sent, address in zip(columns["forwarded_for"], strangers, strict=True)]
    rows = rows_of(source_address=["10.0.0.1"] * len(headers), **columns)
    assert [row["source_ip"] for row in rows] == strangers
    appended = [f"{row[2]}, for={address}" for row, address in zip(headers, strangers, strict=True)]
    rows = rows_of(source_address=["10.0.0.1"] * len(headers), forwarded=appended)
    assert all(row["source_ip"] in ("10.0.0.1", address) for row, address in zip(rows, strangers, strict=True))


@given(st.lists(st.tuples(*[st.none() | st.text(max_size=20)] * 5), max_size=6))
def test_rows_keep_their_number_and_order(values: list[tuple[str | None, ...]]) -> None:
    names = ("source_address", "labels", *HEADERS)
    columns: dict[str, list[Any]] = {name: [row[place] for row in values] for place, name in enumerate(names)}
    ids = [str(number) for number in range(len(values))]
    assert [row["http_request_id"] for row in rows_of(("0.0.0.0/0", "::/0"), http_request_id=ids, **columns)] == ids


# ------------------------------------------------------------------------------------------------------------ networks


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("10.0.0.0/8", "10.0.0.0/8"),
        ("10.0.0.1", "10.0.0.1/32"),
        ("10.0.0.0/255.0.0.0", "10.0.0.0/8"),
        ("2001:DB8:0::/32", "2001:db8::/32"),
        ("::1", "::1/128"),
        ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
        ("::ffff:10.1.2.3", "10.1.2.3/32"),
        ("0.0.0.0/0", "0.0.0.0/0"),
    ],
)
def test_networks(text: str, wanted: str) -> None:
    assert str(network(text)) == wanted


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("10.0.0.1/8", "'10.0.0.1/8' has host bits set; write 10.0.0.0/8"),
        ("2001:db8::1/32", "'2001:db8::1/32' has host bits set; write 2001:db8::/32"),
        ("10.0.0.0/33", "'10.0.0.0/33' is not an address or network"),
        ("10.0.0", "is not an address or network"),
        ("proxy.example", "is not an address or network"),
        ("fe80::1%eth0", "is not an address or network"),
        (" 10.0.0.1", "is not an address or network"),
        ("", "is not an address or network"),
    ],
)
def test_what_is_no_network(text: str, why: str) -> None:
    with pytest.raises(UsageError) as caught:
        Proxies([text])
    assert why in str(caught.value)


def test_all_addresses_of_one_family_are_not_those_of_the_other() -> None:
    for trusted, believed in (("::/0", ["2a00::1"]), ("0.0.0.0/0", ["1.2.3.4"])):
        rows = rows_of((trusted,), source_address=["1.2.3.4", "2a00::1"], forwarded_for=["81.2.69.143"] * 2)
        assert [json.loads(row["labels"])["peer_address"] for row in rows if "labels" in row] == believed


@pytest.mark.parametrize("headers", [("x_forwarded_for",), ("forwarded", "forwarded")])
def test_headers_that_are_not_known_or_given_twice(headers: tuple[str, ...]) -> None:
    with pytest.raises(UsageError, match="not known, or given twice"):
        Proxies(TRUSTED, headers)


def test_the_version_names_no_network() -> None:
    assert Proxies(TRUSTED).version == {"rules": "1", "headers": "forwarded_for,client_address,forwarded"}

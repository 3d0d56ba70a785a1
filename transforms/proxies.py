"""The client behind proxies: who sent the request, when the peer that the log names is a proxy of one's own.

The rule is that of nginx's ``real_ip_recursive`` (https://nginx.org/en/docs/http/ngx_http_realip_module.html): a header is
believed only when the peer is trusted; its addresses are then walked from the nearest to the farthest, and the first that
is not trusted is the client. If all are trusted, it is the farthest. Anything that is not an address stops the walk: the
client is the last good address before it, or the peer. What a client wrote into a header itself stands farther than the
address that the first trusted proxy appended, and is never reached.

Promises: ``source_address``, ``source_ip`` and ``source_port`` are the client's. Where the client is not the peer, the peer's address
(and port) are in ``labels`` as ``peer_address`` (and ``peer_port``). Where the log names a list of addresses as the client, its last
is the peer, and the list is in ``labels`` as ``forwarded_for``. A label of that name which the format wrote stays as it is.

Of several headers the first in the order of the configuration that a request has is walked, and no other. ``forwarded`` is
RFC 7239 (https://www.rfc-editor.org/rfc/rfc7239): its ``for`` parameters are the addresses; one that is malformed anywhere, or
longer than 4 KiB, tells nothing. Of other headers the last 4 KiB count; of all the last 100 addresses.
"""

import ipaddress
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from core import schema
from core.errors import UsageError
from transforms.address_numbers import ipv4_numbers, ipv6_halves
from transforms.addresses import parse
from transforms.base import Numbers, distinct, put, spread
from transforms.choices import DEFAULT_HEADERS, Network, network

__all__ = ["DEFAULT_HEADERS", "Proxies", "network"]

_LONGEST = 4096
_MOST = 100
_BAD = "?"
_ADDRESS = r"^[0-9A-Za-z.:%\[\]_~-]{1,100}$"
_BLANK = r"^[ \t]*-?[ \t]*$"
_PAIR = re.compile(r"""[ \t]*+(?:([!#$%&'*+.^_`|~0-9A-Za-z-]++)=(?:"((?:[^"\\]|\\.)*+)"|([^ \t",;\\]++)))?+[ \t]*+([;,]|\Z)""", re.DOTALL)


class Proxies:
    """Finds the client behind trusted proxies; takes the columns of such headers away.

    :param trusted: addresses and networks of one's own proxies.
    :param headers: input columns that are believed, the most trustworthy first.
    :raises UsageError: a network or the name of a header cannot be used.
    """

    name = "proxies"
    warnings: tuple[str, ...] = ()

    def __init__(self, trusted: Sequence[str] = (), headers: Sequence[str] = DEFAULT_HEADERS) -> None:
        unknown = [name for name in headers if name not in _READERS]
        if unknown or len(set(headers)) < len(headers):
            raise UsageError(f"proxy headers {list(headers)} are not known, or given twice", f"use {', '.join(DEFAULT_HEADERS)}")
        self.version = {"rules": "1", "headers": ",".join(headers)}
        self._headers = tuple(headers)
        self._trusted = _Networks([network(text) for text in trusted])

    def apply(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The same rows with the client's address, and without the columns of headers."""
        lists = _Lists.of(batch)
        if lists:
            batch = put(batch, lists.columns(batch))
        if self._trusted:
            batch = self._walked(batch, lists)
        return batch.drop_columns([name for name in _READERS if name in batch.schema.names])

    def _walked(self, batch: pa.RecordBatch, lists: "_Lists | None") -> pa.RecordBatch:
        present = [name for name in self._headers if name in batch.schema.names]
        if not present and lists is None:
            return batch
        peers, numbers = distinct(_column(batch, "source_ip"))
        rows = np.flatnonzero(np.append(self._trusted.hold(peers), False)[numbers])
        if not len(rows):
            return batch
        return self._moved(batch, rows, self._chains(batch, rows, present, lists))

    def _chains(self, batch: pa.RecordBatch, rows: Numbers, present: list[str], lists: "_Lists | None") -> pa.Array:
        """For each of these rows the addresses that are walked, the nearest last, with commas between; null for none."""
        chosen = pa.array(rows)
        chains = lists.before(rows) if lists else pa.nulls(len(rows), pa.string())
        for name in present:
            if chains.null_count:
                values, numbers = distinct(pc.if_else(pc.is_null(chains), batch.column(name).take(chosen), pa.scalar(None, pa.string())))
                values = pc.if_else(pc.match_substring_regex(values, _BLANK), pa.scalar(None, pa.string()), values)
                chains = pc.coalesce(chains, spread(_READERS[name](values), numbers))
        return chains

    def _moved(self, batch: pa.RecordBatch, rows: Numbers, chains: pa.Array) -> pa.RecordBatch:
        """The batch with the clients of these rows: where a chain names one that is not the peer."""
        values, numbers = distinct(chains)
        address, ip, port = (spread(column, numbers) for column in self._clients(values))
        moves = pc.not_equal(ip, batch.column("source_ip").take(pa.array(rows))).fill_null(False)
        rows = rows[np.asarray(moves)]
        if not len(rows):
            return batch
        peer, peer_port = (_column(batch, name).take(pa.array(rows)) for name in ("source_ip", "source_port"))
        labels = {"peer_address": _quoted(peer), "peer_port": peer_port.cast(pa.string())}
        client = {"source_address": address, "source_ip": ip, "source_port": port}
        columns = {name: _replaced(_column(batch, name), rows, column.filter(moves)) for name, column in client.items()}
        return put(batch, columns | {"labels": _labelled(_column(batch, "labels"), rows, labels)})

    def _clients(self, chains: pa.Array) -> tuple[pa.Array, pa.Array, pa.Array]:
        """Address as written, canonical address and port of the client of each chain; null where that is the peer."""
        long = pc.greater(pc.binary_length(chains), _LONGEST)
        if pc.any(long).as_py():
            # The first element of what is left was cut: it must not be taken for an address.
            chains = pc.if_else(long, pc.binary_join_element_wise(_BAD, pc.utf8_slice_codeunits(chains, -_LONGEST, None), ""), chains)
        pieces = pc.split_pattern(chains, ",", max_splits=_MOST, reverse=True)
        elements = pc.utf8_trim(pieces.flatten(), " \t")
        counts = pc.list_value_length(pieces).to_numpy(zero_copy_only=False).astype(np.int64)
        ends = np.cumsum(counts)
        texts, numbers = distinct(elements)
        texts = pc.if_else(pc.match_substring_regex(texts, _ADDRESS), texts, pa.scalar(None, pa.string()))
        ips, ports = parse(texts)
        client = _stops(ips, self._trusted.hold(ips), numbers, ends - np.minimum(counts, _MOST), ends)
        places = numbers[np.maximum(client, 0)] if len(numbers) else client
        places = np.where(client < 0, -1, places)
        return spread(texts, places), spread(ips, places), spread(ports, places)


def _stops(ips: pa.Array, trusted: npt.NDArray[np.bool_], numbers: Numbers, starts: Numbers, ends: Numbers) -> Numbers:
    """For each chain the element that is the client; -1 for none.

    :param ips: of the distinct elements; null for what is no address.
    :param trusted: of the distinct elements.
    :param numbers: for each element its number among the distinct.
    :param starts: first element of each chain that counts; :param ends: the element after its last.
    """
    good = np.asarray(ips.is_valid())[numbers]
    stopping = np.flatnonzero(~trusted[numbers])
    last = np.searchsorted(stopping, ends) - 1
    stop = stopping.take(last, mode="clip") if len(stopping) else np.full(len(ends), -1, np.int64)
    stop = np.where((last >= 0) & (stop >= starts), stop, -1)
    after = np.where(stop < 0, starts, np.where(good.take(stop, mode="clip") if len(good) else False, stop, stop + 1))
    return np.where(after < ends, after, -1)


class _Networks:
    """Which addresses lie in any of many networks.

    Addresses are compared as 17 bytes: their family, then 16 bytes, as memory is.
    """

    def __init__(self, networks: Sequence[Network]) -> None:
        fours = [found for found in networks if isinstance(found, ipaddress.IPv4Network)]
        sixes = [found for found in networks if isinstance(found, ipaddress.IPv6Network)]
        merged = [_ends(found) for found in ipaddress.collapse_addresses(fours)]
        merged += [_ends(found) for found in ipaddress.collapse_addresses(sixes)]
        self.firsts, self.lasts = (np.array([ends[side] for ends in merged], "S17") for side in (0, 1))

    def __bool__(self) -> bool:
        return bool(len(self.firsts))

    def hold(self, ips: pa.Array) -> npt.NDArray[np.bool_]:
        """Which of the canonical addresses are in one of the networks; null is in none."""
        keys = np.zeros((len(ips), 17), np.uint8)
        plain, fours = ipv4_numbers(ips)
        wide, high, low = ipv6_halves(ips)
        keys[plain, 0], keys[plain, 13:] = 4, fours.astype(">u4").view(np.uint8).reshape(-1, 4)
        keys[wide, 0], keys[wide, 1:] = 6, np.stack((high, low), axis=1).astype(">u8").view(np.uint8).reshape(-1, 16)
        packed = keys.view("S17")[:, 0]
        place = np.searchsorted(self.firsts, packed, side="right") - 1
        if not self:
            return np.zeros(len(ips), np.bool_)
        return (place >= 0) & (packed <= self.lasts[np.maximum(place, 0)])


def _ends(found: Network) -> tuple[bytes, bytes]:
    """The first and the last address of a network, as :class:`_Networks` compares them."""
    first, last = (bytes([found.version]) + int(found[place]).to_bytes(16, "big") for place in (0, -1))
    return first, last


@dataclass(frozen=True)
class _Lists:
    """Rows whose ``source_address`` is a list of addresses, as nginx writes ``$proxy_add_x_forwarded_for``.

    :param rows: their numbers.
    :param whole: what the log has there.
    :param earlier: of each the part before its last address.
    :param last: the last address as written; :param ip: canonical; :param port: with it.
    """

    rows: Numbers
    whole: pa.Array
    earlier: pa.Array
    last: pa.Array
    ip: pa.Array
    port: pa.Array

    @classmethod
    def of(cls, batch: pa.RecordBatch) -> "_Lists | None":
        """Those of the batch; ``None`` without any."""
        address, ip = _column(batch, "source_address"), _column(batch, "source_ip")
        if not ip.null_count or address.null_count == len(address):
            return None
        listed = pc.and_(pc.is_null(ip), pc.match_substring(address, ",").fill_null(False))
        rows = np.flatnonzero(np.asarray(listed))
        if not len(rows):
            return None
        whole = address.take(pa.array(rows))
        parts = pc.split_pattern(whole, ",", max_splits=1, reverse=True).flatten()
        earlier, last = parts.take(pa.array(np.arange(0, len(parts), 2))), parts.take(pa.array(np.arange(1, len(parts), 2)))
        last = pc.utf8_trim(last, " \t")
        ip, port = parse(pc.if_else(pc.match_substring_regex(last, _ADDRESS), last, pa.scalar(None, pa.string())))
        good = ip.is_valid()
        chosen = (column.filter(good) for column in (whole, earlier, last, ip, port))
        rows = rows[np.asarray(good)]
        return cls(rows, *chosen) if len(rows) else None

    def columns(self, batch: pa.RecordBatch) -> dict[str, pa.Array]:
        """The last address as the peer, and the list in the labels."""
        given = _column(batch, "source_port")
        port = pc.coalesce(given.take(pa.array(self.rows)), self.port)
        return {
            "source_address": _replaced(_column(batch, "source_address"), self.rows, self.last),
            "source_ip": _replaced(_column(batch, "source_ip"), self.rows, self.ip),
            "source_port": _replaced(given, self.rows, port),
            "labels": _labelled(_column(batch, "labels"), self.rows, {"forwarded_for": _quoted(self.whole)}),
        }

    def before(self, rows: Numbers) -> pa.Array:
        """For each of these rows what its list has before the peer; null where there is no list."""
        place = np.minimum(np.searchsorted(self.rows, rows), len(self.rows) - 1)
        return self.earlier.take(pa.array(place, mask=self.rows[place] != rows))


# ------------------------------------------------------------------------------------------------------------ headers


def _single(values: pa.Array) -> pa.Array:
    """A header of one address: a list of them is none."""
    return pc.if_else(pc.match_substring(values, ","), pa.scalar(_BAD), values)


def _forwarded(values: pa.Array) -> pa.Array:
    """The ``for`` parameters of Forwarded headers: one by one, each distinct header once."""
    return pa.array([None if value is None else _nodes(value) for value in values.to_pylist()], pa.string())


def _nodes(header: str) -> str:
    """``for=192.0.2.43, for="[2001:db8::17]:4711"`` -> ``192.0.2.43,[2001:db8::17]:4711``; an element without one address is ``?``."""
    found, place, nodes = list[str](), 0, list[str]()
    while place <= len(header):
        pair = _PAIR.match(header, place) if len(header) <= _LONGEST else None
        if pair is None:
            return _BAD
        name, quoted, token, end = pair.groups()
        if name and name.lower() == "for":
            nodes.append(re.sub(r"\\(.)", r"\1", quoted, flags=re.DOTALL) if token is None else token)
        if end != ";":
            found.append(nodes[0] if len(nodes) == 1 and "," not in nodes[0] else _BAD)
            nodes = []
        if not end:
            break
        place = pair.end()
    return ",".join(found)


_READERS: dict[str, Callable[[pa.Array], pa.Array]] = {
    "forwarded_for": lambda values: values,
    "client_address": _single,
    "forwarded": _forwarded,
}


# ------------------------------------------------------------------------------------------------------------- labels


def _labelled(labels: pa.Array, rows: Numbers, members: dict[str, pa.Array]) -> pa.Array:
    """The labels with members added at these rows: JSON text each, null for none. A name that is there already keeps its value."""
    chosen = labels.take(pa.array(rows))
    for name, values in members.items():
        chosen = _with_member(chosen, name, values)
    return _replaced(labels, rows, chosen)


def _with_member(labels: pa.Array, name: str, values: pa.Array) -> pa.Array:
    empty = pc.or_(pc.is_null(labels), pc.equal(labels, "{}")).fill_null(True)
    member = pc.binary_join_element_wise(f'"{name}":', values, "")
    body = pc.if_else(empty, "{", pc.binary_join_element_wise(pc.utf8_slice_codeunits(labels, 0, -1), ",", ""))
    longer = pc.binary_join_element_wise(body, member, "}", "")
    return pc.if_else(pc.and_(values.is_valid(), pc.invert(_has(labels, name))), longer, labels)


def _has(labels: pa.Array, name: str) -> pa.Array:
    """Which labels have that name already, or are no object that a member can be added to."""
    open_ = pc.and_(pc.starts_with(labels, "{"), pc.ends_with(labels, "}"))
    doubtful = pc.and_(open_, pc.match_substring(labels, f'"{name}"')).fill_null(False)
    found = pc.invert(open_).fill_null(False)
    if not pc.any(doubtful).as_py():
        return found
    values, numbers = distinct(labels.filter(doubtful))
    known = pa.array([_is_named(value, name) for value in values.to_pylist()])
    return pc.replace_with_mask(found, doubtful, spread(known, numbers))


def _is_named(document: str, name: str) -> bool:
    try:
        return name in json.loads(document)
    except (ValueError, RecursionError):
        return True


def _quoted(texts: pa.Array) -> pa.Array:
    """Each text as JSON; null stays null."""
    plain = pc.binary_join_element_wise('"', texts, '"', "")
    odd = pc.match_substring_regex(texts, r'[^ -~]|["\\]').fill_null(False)
    if not pc.any(odd).as_py():
        return plain
    written = [json.dumps(text, ensure_ascii=False) for text in texts.filter(odd).to_pylist()]
    return pc.replace_with_mask(plain, odd, pa.array(written, pa.string()))


def _column(batch: pa.RecordBatch, name: str) -> pa.Array:
    """The column of that name; all nulls when the batch lacks it."""
    return batch.column(name) if name in batch.schema.names else pa.nulls(len(batch), schema.by_name(name).type)


def _replaced(array: pa.Array, rows: Numbers, values: pa.Array) -> pa.Array:
    """The array with these rows set."""
    mask = np.zeros(len(array), np.bool_)
    mask[rows] = True
    return pc.replace_with_mask(array, pa.array(mask), values)

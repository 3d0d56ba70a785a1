"""The client's IP address and port, out of whatever the log names as the client.

Promises: ``source_ip`` is null or the canonical text of an address: dotted IPv4, or IPv6 compressed and in lower case
(RFC 5952); an IPv4 address mapped into IPv6 is given as IPv4; brackets, port and zone are stripped, the port into
``source_port`` unless the log gave one. A host name, or an address with leading zeros (read differently by different
programs), is none; nor is a list of addresses, which :mod:`transforms.proxies` reads. ``source_address`` stays as the log
has it.
"""

import socket

import pyarrow as pa
import pyarrow.compute as pc

from transforms.base import distinct, put, spread, text_column

__all__ = ["Addresses", "parse"]

_OCTET = r"(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
_IPV4 = rf"^(?:{_OCTET}\.){{3}}{_OCTET}$"
_GROUP = "[1-9a-f][0-9a-f]{0,3}"
_IPV6_WHOLE = rf"^(?:(?:0|{_GROUP}):){{7}}(?:0|{_GROUP})$"
_IPV6_ZEROS = r"(?:^|:)0:0(?::|$)"
_IPV6_SHORT = rf"^{_GROUP}(?::{_GROUP}){{0,4}}::(?:{_GROUP}(?::{_GROUP}){{0,4}})?$"
_MOST_COLONS = 6
_LONGEST = 100
_MAPPED = bytes(10) + b"\xff\xff"
_MAX_PORT = 65535

Literal = tuple[str | None, int | None]


class Addresses:
    """Fills ``source_ip`` and ``source_port`` from ``source_address``; makes a ``source_ip`` the log gave canonical."""

    name = "addresses"
    version: dict[str, str] = {"rules": "2"}  # noqa: RUF012 - the protocol's type
    warnings: tuple[str, ...] = ()

    def apply(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The same rows with ``source_address``, ``source_ip`` and ``source_port``."""
        address, given = text_column(batch, "source_address"), text_column(batch, "source_ip")
        logged = given.null_count < len(given)
        if logged:
            address = pc.coalesce(address, given)
        ip, port = parse(address)
        if logged:
            ip = pc.coalesce(parse(given)[0], ip)
        if "source_port" in batch.schema.names:
            port = pc.coalesce(batch.column("source_port"), port)
        return put(batch, {"source_address": address, "source_ip": ip, "source_port": port})


def parse(texts: pa.Array) -> tuple[pa.Array, pa.Array]:
    """Canonical addresses (string) and ports (int32) of texts, null where there are none."""
    values, numbers = distinct(texts)
    plain = pc.match_substring_regex(values, _IPV4)
    colons = pc.match_substring(values, ":")
    if pc.any(colons).as_py():
        plain = pc.replace_with_mask(plain, colons, _canonical_ipv6(values.filter(colons)))
    if pc.all(plain).as_py():
        return texts, pa.nulls(len(texts), pa.int32())
    ips, ports = pc.if_else(plain, values, pa.scalar(None, pa.string())), pa.nulls(len(values), pa.int32())
    odd = pc.and_not(pc.or_(colons, pc.starts_with(values, "[")), plain)
    if pc.any(odd).as_py():
        read = [literal(text) for text in values.filter(odd).to_pylist()]
        ips = pc.replace_with_mask(ips, odd, pa.array([ip for ip, _ in read], pa.string()))
        ports = pc.replace_with_mask(ports, odd, pa.array([port for _, port in read], pa.int32()))
    return spread(ips, numbers), spread(ports, numbers)


def _canonical_ipv6(texts: pa.Array) -> pa.Array:
    """Which texts are IPv6 addresses that certainly have the form of RFC 5952: eight groups of which no two zeros touch, or fewer
    without a zero around ``::``, which then stands for two or more. Others may be, such as those that begin with ``::``."""
    whole = pc.and_not(pc.match_substring_regex(texts, _IPV6_WHOLE), pc.match_substring_regex(texts, _IPV6_ZEROS))
    if pc.all(whole).as_py():
        return whole
    few = pc.less_equal(pc.count_substring(texts, ":"), _MOST_COLONS)
    return pc.or_(whole, pc.and_(few, pc.match_substring_regex(texts, _IPV6_SHORT)))


def literal(text: str) -> Literal:
    """One address with brackets, port or zone: the slow road; ``(None, None)`` when it is no address."""
    host, port = text, ""
    if len(text) > _LONGEST or "," in text:
        return None, None
    if text.startswith("["):
        host, bracket, port = text[1:].partition("]")
        if not bracket or (port and not port.startswith(":")):
            return None, None
        port = port[1:]
    elif text.count(":") == 1:
        host, _, port = text.partition(":")
    if port and not (port.isascii() and port.isdigit() and int(port) <= _MAX_PORT):
        return None, None
    ip = _canonical(host)
    return ip, int(port) if port and ip else None


def _canonical(host: str) -> str | None:
    try:
        if ":" not in host:
            return socket.inet_ntop(socket.AF_INET, socket.inet_pton(socket.AF_INET, host))
        packed = socket.inet_pton(socket.AF_INET6, host.partition("%")[0])
    except (OSError, ValueError):
        return None
    if packed.startswith(_MAPPED):
        return socket.inet_ntop(socket.AF_INET, packed[12:])
    return socket.inet_ntop(socket.AF_INET6, packed)

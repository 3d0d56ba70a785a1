"""The client's IP address and port, out of whatever the log names as the client.

Promises: ``source_ip`` is null or the canonical text of an address: dotted IPv4, or IPv6 compressed and in lower case
(RFC 5952); an IPv4 address mapped into IPv6 is given as IPv4; brackets, port and zone are stripped, the port into
``source_port`` unless the log gave one. A host name, or an address with leading zeros (read differently by different
programs), is none; nor is a list of addresses, which :mod:`transforms.proxies` reads. ``source_address`` stays as the log
has it.
"""

import socket

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from transforms.base import distinct, put, spread, text_column

__all__ = ["Addresses", "ipv4_numbers", "ipv6_halves", "parse"]

_OCTET = r"(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
_IPV4 = rf"^(?:{_OCTET}\.){{3}}{_OCTET}$"
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
        address = pc.coalesce(address, given)
        ip, port = parse(address)
        if given.null_count < len(given):
            ip = pc.coalesce(parse(given)[0], ip)
        if "source_port" in batch.schema.names:
            port = pc.coalesce(batch.column("source_port"), port)
        return put(batch, {"source_address": address, "source_ip": ip, "source_port": port})


def parse(texts: pa.Array) -> tuple[pa.Array, pa.Array]:
    """Canonical addresses (string) and ports (int32) of texts, null where there are none."""
    values, numbers = distinct(texts)
    plain = pc.match_substring_regex(values, _IPV4)
    ips, ports = pc.if_else(plain, values, pa.scalar(None, pa.string())), pa.nulls(len(values), pa.int32())
    odd = pc.and_not(pc.or_(pc.match_substring(values, ":"), pc.starts_with(values, "[")), plain)
    if pc.any(odd).as_py():
        read = [literal(text) for text in values.filter(odd).to_pylist()]
        ips = pc.replace_with_mask(ips, odd, pa.array([ip for ip, _ in read], pa.string()))
        ports = pc.replace_with_mask(ports, odd, pa.array([port for _, port in read], pa.int32()))
    return spread(ips, numbers), spread(ports, numbers)


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


def ipv4_numbers(texts: pa.Array) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.uint32]]:
    """Which texts are dotted IPv4 addresses, and those as integers, in the same order."""
    plain = pc.match_substring_regex(texts, _IPV4).fill_null(False)
    octets = pc.split_pattern(texts.filter(plain), ".").flatten().cast(pa.uint32())
    return plain.to_numpy(zero_copy_only=False), octets.to_numpy().reshape(-1, 4) @ np.array([1 << 24, 1 << 16, 1 << 8, 1], dtype=np.uint32)


def ipv6_halves(texts: pa.Array) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.uint64], npt.NDArray[np.uint64]]:
    """Which texts are IPv6 addresses, and the high and low 64 bits of those, in the same order."""
    maybe = pc.match_substring(texts, ":").fill_null(False).to_numpy(zero_copy_only=False).copy()
    packed = [_packed(text) for text in texts.filter(pa.array(maybe)).to_pylist()]
    maybe[maybe] = [len(address) == 16 for address in packed]
    halves = np.frombuffer(b"".join(packed), dtype=">u8").astype(np.uint64).reshape(-1, 2)
    return maybe, halves[:, 0], halves[:, 1]


def _packed(text: str) -> bytes:
    try:
        return socket.inet_pton(socket.AF_INET6, text)
    except (OSError, ValueError):
        return b""

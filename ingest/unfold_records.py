"""Records of a list on their way to lines: as they are, or each wrapped with the resource and scope that an OTLP list is about."""

from collections.abc import Iterator
from dataclasses import dataclass, field

__all__ = ["CONTEXT_BYTES", "HELD_BYTES", "Records"]

CONTEXT_BYTES = 64 << 10
"""The longest resource or scope that is put before records."""
HELD_BYTES = 8 << 20
"""As many bytes of records as wait for their resource and scope."""

_AT_ONCE = 4 << 20


@dataclass
class _Held:
    """Records that wait; ``scope`` is ``None`` while theirs is not known."""

    scope: bytes | None
    lines: bytearray = field(default_factory=bytearray)


class Records:
    """Where records go. What is put in has a newline between records and none within.

    A resource or scope is JSON text, empty where there is none. Records that come before either wait for it. They pass as they
    are, which is not what the format expects, when they waited in vain (:data:`HELD_BYTES`) or when it is longer than
    :data:`CONTEXT_BYTES`.
    """

    def __init__(self) -> None:
        self._resource: bytes | None = None
        self._scope: bytes | None = None
        self._held: list[_Held] = []
        self._held_bytes = 0
        self._prefix = b""
        self._holding = False
        self._fresh = True

    @property
    def waiting(self) -> bool:
        """Whether any records wait."""
        return self._held_bytes > 0

    def begin(self, wrapped: bool) -> None:
        """A list begins; whether its records need their resource and scope."""
        self._fresh, self._prefix, self._holding = True, b"", False
        if wrapped and self._resource is not None and self._scope is not None and not self._held:
            self._prefix = _prefix(self._resource, self._scope)
        elif wrapped:
            self._holding = True
            self._held.append(_Held(self._scope))

    def add(self, body: bytes, ended: bool) -> Iterator[bytes]:
        """Some of the list's bytes; whether it ends with them. The last record has no newline before the list's end."""
        if ended and not (body[-1:] == b"\n" if body else self._fresh):
            body += b"\n"
        if not body:
            return
        if self._holding:
            yield from self._hold(body)
        elif self._prefix:
            yield from _wrapped(self._prefix, body, self._fresh)
        else:
            yield body
        self._fresh = body[-1:] == b"\n"

    def _hold(self, body: bytes) -> Iterator[bytes]:
        self._held[-1].lines += body
        self._held_bytes += len(body)
        if self._held_bytes > HELD_BYTES:
            yield from self.give_up()

    def give_up(self) -> Iterator[bytes]:
        """The records that wait, as they are; more of their list will pass so too."""
        held, self._held, self._held_bytes, self._holding = self._held, [], 0, False
        for one in held:
            yield bytes(one.lines)

    def enter_resource(self) -> None:
        """Records of a resource follow, which is not known yet."""
        self._resource = self._scope = None

    def enter_scope(self) -> None:
        """Records of a scope follow, which is not known yet."""
        self._scope = None

    def know_resource(self, value: bytes) -> Iterator[bytes]:
        """The resource is known: what waited for it only."""
        self._resource = value
        yield from self._release()

    def know_scope(self, value: bytes) -> None:
        """The scope is known."""
        self._scope = value

    def leave_scope(self) -> Iterator[bytes]:
        """No more records of the scope: what waited for it only."""
        for one in self._held:
            one.scope = (self._scope or b"") if one.scope is None else one.scope
        if self._resource is not None:
            yield from self._release()

    def leave_resource(self) -> Iterator[bytes]:
        """No more records of the resource: what waited."""
        self._resource = self._resource or b""
        yield from self._release()

    def _release(self) -> Iterator[bytes]:
        held, self._held, self._held_bytes = self._held, [], 0
        for one in held:
            yield from _wrapped(_prefix(self._resource or b"", one.scope or b""), bytes(one.lines), True)


def _prefix(resource: bytes, scope: bytes) -> bytes:
    """What stands before a record; nothing when it would be too long."""
    if max(len(resource), len(scope)) > CONTEXT_BYTES:
        return b""
    return b"".join((b"{", b'"resource":%s,' % resource if resource else b"", b'"scope":%s,' % scope if scope else b"", b'"logRecord":'))


def _wrapped(prefix: bytes, body: bytes, fresh: bool) -> Iterator[bytes]:
    """The records with the prefix before each, in pieces of bounded length, however many short records there are.

    :param fresh: whether a record begins with the first byte.
    """
    if not prefix:
        yield body
        return
    step = max(1, _AT_ONCE // len(prefix))
    for at in range(0, len(body), step):
        part = body[at : at + step]
        whole = part[-1:] == b"\n"
        text = part[: len(part) - whole].replace(b"\n", b"}\n" + prefix)
        yield b"".join((prefix if fresh else b"", text, b"}\n" if whole else b""))
        fresh = whole

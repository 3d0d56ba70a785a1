"""A TCP stream of syslog messages, or a datagram, as lines.

RFC 6587 knows two ways to tell messages apart. Octet counting puts the length before each: ``83 <190>1 2000-...``. The other ends each
with a newline. The first octets of a connection tell which it uses: a number, a blank and ``<``, with which every message begins.

- A message of octet counting may hold a newline, and a datagram too: it becomes ``#012``, as rsyslog writes control characters.
- A message longer than the limit is cut there, and the rest of it is skipped.

Sources: https://www.rfc-editor.org/rfc/rfc6587#section-3.4, https://www.rfc-editor.org/rfc/rfc5426#section-3.1;
https://www.rsyslog.com/doc/rainerscript/global.html (parser.escapeControlCharactersOnReceive).
"""

import re

__all__ = ["Frames", "line_of"]

_COUNTED = re.compile(rb"[1-9][0-9]{0,8} <")
_MAY_BE_COUNTED = re.compile(rb"(?:[1-9][0-9]{0,8} ?)?\Z")
_LENGTH = re.compile(rb"([1-9][0-9]{0,8}) ")
_MAY_BE_LENGTH = re.compile(rb"(?:[1-9][0-9]{0,8})?\Z")
_HEADER_BYTES = 10
_NEWLINE_WITHIN = b"#012"


def line_of(message: bytes) -> bytes:
    """One message as a line with its newline; empty when there is nothing in it."""
    text = message.rstrip(b"\r\n\0")
    return text.replace(b"\n", _NEWLINE_WITHIN) + b"\n" if text else b""


class Frames:
    """The messages of one connection.

    :param longest: bytes of a message.
    """

    def __init__(self, longest: int) -> None:
        self.cut = 0
        """Messages that were longer."""
        self.broken = False
        """Whether octets were counted and are no more: where the next message begins cannot be told, and nothing further is read."""
        self._longest = longest
        self._counted: bool | None = None
        self._held = bytearray()
        self._needed = 0
        self._skip = 0
        self._skip_line = False

    def feed(self, data: bytes) -> bytes:
        """The messages that are whole with these bytes, each with a newline after it."""
        if self.broken:
            return b""
        if self._counted is None:
            self._held += data
            head = bytes(self._held[: _HEADER_BYTES + 1])
            if _MAY_BE_COUNTED.match(head):
                return b""
            self._counted = _COUNTED.match(head) is not None
            data, self._held = bytes(self._held), bytearray()
        return self._by_count(data) if self._counted else self._by_line(data)

    def finish(self) -> tuple[bytes, bool]:
        """The connection has ended: the last message, if it lacks only its newline; and whether one was cut off."""
        held, self._held = bytes(self._held), bytearray()
        if self._counted or (self._counted is None and held):
            return b"", bool(held or self._skip) and not self.broken
        return (b"" if self._skip_line else line_of(held)), False

    def _by_line(self, data: bytes) -> bytes:
        if self._skip_line:
            _, newline, data = data.partition(b"\n")
            if not newline:
                return b""
            self._skip_line = False
        end = data.rfind(b"\n") + 1
        whole = bytes(self._held) + data[:end] if end else b""
        if end:
            self._held = bytearray()
        self._held += data[end:]
        return whole + self._too_long()

    def _too_long(self) -> bytes:
        """The beginning of the line that is open, when it is too long already."""
        if len(self._held) <= self._longest:
            return b""
        line = bytes(self._held[: self._longest]) + b"\n"
        self._held, self._skip_line = bytearray(), True
        self.cut += 1
        return line

    def _by_count(self, data: bytes) -> bytes:
        if self._skip:
            skipped = min(self._skip, len(data))
            self._skip, data = self._skip - skipped, data[skipped:]
        self._held += data
        if len(self._held) < self._needed:
            return b""
        data, at = bytes(self._held), 0
        lines: list[bytes] = []
        while (found := self._next(data, at, lines)) is not None:
            at = found
        self._held = bytearray(data[at:])
        return b"".join(lines)

    def _next(self, data: bytes, at: int, lines: list[bytes]) -> int | None:
        """Where the message after the next begins; none when the next is not whole."""
        header = _LENGTH.match(data, at)
        if header is None:
            self._needed = 0
            self.broken = not _MAY_BE_LENGTH.match(data, at)
            return None
        size = int(header[1])
        end = header.end() + min(size, self._longest)
        if end > len(data):
            self._needed = end - at
            return None
        lines.append(line_of(data[header.end() : end]))
        if size > self._longest:
            self.cut += 1
            rest = header.end() + size
            self._skip = max(0, rest - len(data))
            return min(rest, len(data))
        return end

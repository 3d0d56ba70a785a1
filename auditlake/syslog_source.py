"""Sources of kind ``syslog``: messages over TCP and UDP on one port, gathered, and put into the spool as bodies that were sent.

Messages are gathered for a second or until they are a megabyte, from all connections together; then they are durable. Syslog knows no
acknowledgement: a sender takes what it has handed to the network for delivered. So what is gathered and not yet in the spool is lost
when the process is killed, and asked to stop it puts that into the spool first.

While the spool is full, connections are not read, so that the sender waits, and new ones are closed. What came in by then is held up to
:data:`HELD_BYTES`; datagrams beyond that are dropped and counted, since nobody can be asked to wait.

Each body has a key of its own: messages that are alike are as many as were sent.
"""

import asyncio
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from auditlake.console import say
from auditlake.intake import ingest_options
from auditlake.lake import Lake
from auditlake.serve_settings import SourceSettings
from auditlake.settings import size_bytes
from core.errors import AuditlakeError
from ingest.formats import get
from ingest.reading import AUTO
from ingest.syslog_frames import Frames, line_of
from jobs.context import Context
from jobs.push import accept
from transforms.pipeline import Pipeline

__all__ = ["BATCH_BYTES", "HELD_BYTES", "SyslogCounts", "SyslogSource", "format_of"]

BATCH_BYTES = 1 << 20
"""As many bytes of messages are put into the spool at once."""
HELD_BYTES = 8 << 20
"""As many bytes of messages wait for room in the spool."""

_BATCH_SECONDS = 1.0
_AGAIN_SECONDS = 1.0
_START_SECONDS = 15.0
_DRAIN_SECONDS = 0.2
_STOP_SECONDS = 2.0
_SAY_SECONDS = 60.0
_READ_BYTES = 1 << 16
_RECEIVE_BUFFER = 8 << 20
_CONNECTIONS = 1000


@dataclass
class SyslogCounts:
    """What has come to nothing since the server began: datagrams dropped here or by the kernel, messages cut, or cut off by the end of
    their connection, connections turned away."""

    dropped: int = 0
    kernel: int = 0
    cut: int = 0
    broken: int = 0
    turned_away: int = 0

    def __str__(self) -> str:
        return (
            f"{self.dropped + self.kernel} datagrams dropped, {self.cut} messages cut at the longest line, "
            f"{self.broken} cut off by the end of their connection, {self.turned_away} connections turned away"
        )


def format_of(name: str) -> str:
    """The format of a source's lines: what is named is within syslog, unless a wrapper is named or it is to be found out."""
    return name if name == AUTO or "+" in name else f"syslog+{name}"


class SyslogSource:
    """A source. It stores nothing by itself: its bodies wait in the spool, like all others.

    :param woken: is called when there is something to store.
    """

    def __init__(self, lake: Lake, source: SourceSettings, woken: Callable[[], None] = lambda: None) -> None:
        self.name = source.name
        self.counts = SyslogCounts()
        self.problem = ""
        """Why nothing can be put into the spool now."""
        self.port = 0
        """Where it listens, once it does."""
        self._source, self._woken = source, woken
        self._context, self._settings = lake.context, lake.settings
        self._parts: list[bytes] = []
        self._size = 0
        self._said = (0.0, "")
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name=f"syslog {self.name}")
        self._started = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping, self._some, self._full, self._room = (asyncio.Event() for _ in range(4))
        self._socket: socket.socket | None = None
        self._connections: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """Listen.

        :raises AuditlakeError: it cannot listen there.
        :raises UsageError: its format is unknown.
        """
        options = ingest_options(self._settings, self._form, self._source.stream, self._source.timezone)
        if options.format != AUTO:
            get(options.format, options.formats)
        self._thread.start()
        if not self._started.wait(_START_SECONDS) or self._failure:
            why = getattr(self._failure, "strerror", None) or self._failure or "it takes too long"
            raise AuditlakeError(f"source {self.name} cannot listen on {self._source.listen}: {why}", "set its listen to another place")

    def poll(self, ctx: Context, pipeline: Pipeline) -> bool:  # noqa: ARG002 - a feed's
        """Nothing: the writer finds its bodies in the spool."""
        return False

    def pending(self) -> bool:
        """Never: see :meth:`poll`."""
        return False

    def renew(self, lake: Lake) -> None:
        """Other settings, of the same directory: limits of the spool and formats; where it listens stays."""
        self._settings = lake.settings

    def close(self) -> None:
        """Listen no more, and put what was gathered into the spool."""
        if self._loop is not None and self._thread.is_alive():
            with suppress(RuntimeError):  # it ends at this moment
                self._loop.call_soon_threadsafe(self._stopping.set)
            self._thread.join()

    @property
    def place(self) -> str:
        """Where it listens: ``host:port``."""
        return f"{self._source.listen.rpartition(':')[0]}:{self.port}"

    @property
    def _form(self) -> str:
        return format_of(self._source.format)

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:
            self._failure = error
            if self._started.is_set():
                say(f"auditlake: source {self.name} ended: {type(error).__name__}: {error}")
        finally:
            self._started.set()

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._room.set()
        host, _, port = self._source.listen.rpartition(":")
        server = await asyncio.start_server(self._connected, host.strip("[]"), int(port), limit=_READ_BYTES)
        try:
            self.port = int(server.sockets[0].getsockname()[1])
            place = (host.strip("[]"), self.port)
            transport, _ = await self._loop.create_datagram_endpoint(lambda: _Datagrams(self), place)
            self._socket = transport.get_extra_info("socket")
            _widen(self._socket)
            flushing = asyncio.ensure_future(self._flush())
            self._started.set()
            await self._stopping.wait()
        finally:
            server.close()
        await self._drain()
        transport.close()
        self._some.set()
        self._full.set()
        await flushing
        if self.counts != SyslogCounts():
            say(f"auditlake: source {self.name}: {self.counts}")

    async def _drain(self) -> None:
        """Read what is there already, and let the connections go."""
        self._room.set()
        await asyncio.sleep(_DRAIN_SECONDS)
        for task in list(self._connections):
            task.cancel()
        if self._connections:
            await asyncio.wait(self._connections, timeout=_STOP_SECONDS)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        try:
            if not self._room.is_set() or len(self._connections) >= _CONNECTIONS:
                self.counts.turned_away += 1
                return
            self._connections.add(task)
            with suppress(ConnectionError, asyncio.CancelledError):
                await self._read(reader)
        finally:
            self._connections.discard(task)
            writer.close()

    async def _read(self, reader: asyncio.StreamReader) -> None:
        frames, ended = Frames(size_bytes(self._settings.ingest.max_line)), False
        try:
            while not frames.broken and not ended:
                await self._room.wait()
                data = await reader.read(_READ_BYTES)
                ended = not data
                self.take(frames.feed(data))
        finally:
            last, cut_off = frames.finish()
            if ended:
                self.take(last)
            self.counts.cut += frames.cut
            self.counts.broken += bool(frames.broken or cut_off or (last and not ended))

    def take(self, lines: bytes) -> None:
        """Gather messages, each with its newline."""
        if not lines:
            return
        self._parts.append(lines)
        self._size += len(lines)
        self._some.set()
        if self._size >= BATCH_BYTES:
            self._full.set()
        if self._size >= HELD_BYTES:
            self._room.clear()

    def take_datagram(self, data: bytes) -> None:
        """Gather the message of a datagram, when there is room."""
        if self._room.is_set():
            self.take(line_of(data))
        else:
            self.counts.dropped += 1

    async def _flush(self) -> None:
        """Put what was gathered into the spool, again and again, until nothing more comes."""
        while not (self._stopping.is_set() and not self._parts and not self._connections):
            await self._some.wait()
            with suppress(TimeoutError):
                async with asyncio.timeout(_BATCH_SECONDS):
                    await self._full.wait()
            body, self._parts, self._size = b"".join(self._parts), [], 0
            if not self._stopping.is_set():
                self._some.clear()
                self._full.clear()
            if body and not await self._put(body):
                return
            self._room.set()

    async def _put(self, body: bytes) -> bool:
        """Make a body durable, however long that takes; whether that was done before a stop was asked for and it could not be."""
        while True:
            try:
                await asyncio.to_thread(self._accept, body)
            except AuditlakeError as error:
                self._trouble(str(error))
                if self._stopping.is_set():
                    lost = body.count(b"\n")
                    say(f"auditlake: source {self.name}: {lost} messages are lost: {error}")
                    return False
                with suppress(TimeoutError):
                    async with asyncio.timeout(_AGAIN_SECONDS):
                        await self._stopping.wait()
            else:
                self._trouble("")
                self._woken()
                return True

    def _accept(self, body: bytes) -> None:
        """Put it into the spool.

        :raises AuditlakeError: it cannot be, or there is no room; at a stop there always is.
        """
        if not self._stopping.is_set() and self._context.spool.size() > size_bytes(self._settings.serve.spool):
            raise AuditlakeError("bodies that wait to be stored take all the room they may", "raise [serve] spool")
        options = ingest_options(self._settings, self._form, self._source.stream, self._source.timezone)
        accept(self._context, body, self.name, options, f"syslog:{self.name}", secrets.token_hex(16), self._source.timezone)

    def _trouble(self, problem: str) -> None:
        """Remember it, and say what is new, now and then."""
        self.problem = problem
        self.counts.kernel = max(self.counts.kernel, _kernel_drops(self._socket))
        what = problem or (str(self.counts) if self.counts != SyslogCounts() else "")
        if what and what != self._said[1] and time.monotonic() - self._said[0] > _SAY_SECONDS:
            self._said = (time.monotonic(), what)
            say(f"auditlake: source {self.name}: {what}")


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, source: SyslogSource) -> None:
        self._source = source

    def datagram_received(self, data: bytes, addr: object) -> None:  # noqa: ARG002 - asyncio's
        self._source.take_datagram(data)


def _widen(datagrams: socket.socket) -> None:
    """As much room in the kernel for datagrams as it allows: what comes while Python is busy waits there."""
    with suppress(OSError):
        datagrams.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)


def _kernel_drops(datagrams: socket.socket | None) -> int:
    """Datagrams that the kernel had no room for: the last column of the socket's row in /proc/net/udp (proc(5)); 0 where it tells none."""
    if datagrams is None or datagrams.fileno() < 0:
        return 0
    inode = str(os.fstat(datagrams.fileno()).st_ino)
    with suppress(OSError, ValueError, IndexError):
        for name in ("udp", "udp6"):
            for row in Path(f"/proc/net/{name}").read_text().splitlines()[1:]:
                columns = row.split()
                if columns[9] == inode:
                    return int(columns[12])
    return 0

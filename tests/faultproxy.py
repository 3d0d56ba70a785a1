"""A proxy on loopback before an HTTP server that is slow, fails, or vanishes: bytes pass as they are, unless a fault is due.

Faults are of requests, told by their order: the test says what becomes of each. A connection carries one request, so that an order exists.
"""

import contextlib
import itertools
import socket
import socketserver
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

__all__ = ["Fault", "Proxy", "proxy_before"]

Fault = str
"""``pass``; ``slow`` (a pause before); ``busy`` (answers 503); ``reset`` (breaks off before the request is passed on); ``lost``
(passes it on, and breaks off before the answer comes back); ``cut`` (breaks off in the middle of the answer)."""

_BUSY = (
    b"HTTP/1.1 503 Slow Down\r\nContent-Type: application/xml\r\nConnection: close\r\nContent-Length: 107\r\n\r\n"
    b"<?xml version='1.0'?><Error><Code>SlowDown</Code><Message>Please reduce your request rate</Message></Error>"
)


@dataclass
class Proxy:
    """The proxy: where it listens, what it does, what it did."""

    port: int
    target: int
    decide: Callable[[int, bytes], Fault] = lambda _number, _line: "pass"
    done: list[tuple[str, str]] = field(default_factory=list)
    _numbers: Iterator[int] = field(default_factory=itertools.count)
    _guard: threading.Lock = field(default_factory=threading.Lock)

    @property
    def endpoint(self) -> str:
        """Its URL."""
        return f"http://127.0.0.1:{self.port}"

    def serve_one(self, client: socket.socket) -> None:
        """Pass one request on, or not."""
        head = _until_head(client)
        if not head:
            return
        line = head.split(b"\r\n", 1)[0]
        with self._guard:
            fault = self.decide(next(self._numbers), line)
            self.done.append((fault, line.decode(errors="replace")))
        if fault == "reset":
            return
        if fault == "busy":
            client.sendall(_BUSY)
            return
        if fault == "slow":
            time.sleep(0.4)
        with socket.create_connection(("127.0.0.1", self.target), timeout=60) as server:
            server.sendall(_closing(head))
            threading.Thread(target=_pump, args=(client, server), daemon=True).start()
            first = True
            while piece := server.recv(1 << 16):
                if fault == "lost":
                    return
                client.sendall(piece[: len(piece) // 2] if fault == "cut" and first else piece)
                if fault == "cut":
                    return
                first = False


def _until_head(client: socket.socket) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data:
        piece = client.recv(1 << 16)
        if not piece:
            return b""
        data += piece
    return data


def _closing(head: bytes) -> bytes:
    """The request, which asks the server to close after its answer; names and order of the other headers stay."""
    top, _, rest = head.partition(b"\r\n\r\n")
    lines = [line for line in top.split(b"\r\n") if not line.lower().startswith(b"connection:")]
    return b"\r\n".join([*lines, b"Connection: close"]) + b"\r\n\r\n" + rest


def _pump(client: socket.socket, server: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while piece := client.recv(1 << 16):
            server.sendall(piece)


class _Handler(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        assert isinstance(self.server, _Server)
        self.request.settimeout(60)
        with contextlib.suppress(OSError):
            self.server.proxy.serve_one(self.request)
        with contextlib.suppress(OSError):  # closing alone waits for the thread that reads
            self.request.shutdown(socket.SHUT_RDWR)


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 64
    proxy: Proxy


@contextlib.contextmanager
def proxy_before(port: int) -> Iterator[Proxy]:
    """A proxy before that port, as long as the block lasts."""
    with _Server(("127.0.0.1", 0), _Handler) as server:
        server.proxy = Proxy(server.server_address[1], port)
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield server.proxy
        finally:
            server.shutdown()
            thread.join()

"""An origin that does exactly what a test says, over real sockets, and remembers all that it was asked.

Two ways to say it. *Rules*: a reply, a function of the request, or a table of both by path, used for every
request on every connection. *Scripts*: one function or list of steps for each connection in turn, for what a
well-behaved server never does. What the proxy sends is read strictly: a malformed or doubly framed request
fails the test, and so does any exception in a script. Nothing here knows caching.

    with Origin({"/a": reply(200, {"Cache-Control": "max-age=60"}, b"hello")}) as origin: ...
    with Origin.scripted([expect("GET", "/a"), send(b"HTTP/1.1 2"), hold(signal), reset()]) as origin: ...
"""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from types import TracebackType

from .sync import PATIENCE, Signal, eventually
from .wire import BodyReader, FieldsLike, Pairs, Request, Wire, WireError, field_lines, pairs


@dataclass
class Reply:
    status: int
    fields: Pairs = field(default_factory=list)
    body: bytes = b""
    framing: str = "length"  # "length" | "chunked" | "close" | "none" (fields as they are, no length)
    trailers: FieldsLike = None
    close: bool = False

    def encode(self, method: str = "GET") -> bytes:
        lines = list(self.fields)
        bodiless = method == "HEAD" or self.status in (204, 304) or self.status < 200
        if self.framing == "length" and self.status not in (204, 304) and self.status >= 200:
            lines.append(("Content-Length", str(len(self.body))))
        elif self.framing == "chunked":
            lines.append(("Transfer-Encoding", "chunked"))
        if self.close or self.framing == "close":
            lines.append(("Connection", "close"))
        head = status_line(self.status) + field_lines(lines) + b"\r\n"
        if bodiless:
            return head
        if self.framing == "chunked":
            data = b"%x\r\n%s\r\n" % (len(self.body), self.body) if self.body else b""
            return head + data + b"0\r\n" + field_lines(self.trailers) + b"\r\n"
        return head + self.body


def status_line(status: int) -> bytes:
    try:
        reason = HTTPStatus(status).phrase
    except ValueError:
        reason = "Unnamed"
    return f"HTTP/1.1 {status} {reason}\r\n".encode()


def reply(
    status: int = 200,
    fields: FieldsLike = None,
    body: bytes = b"",
    *,
    framing: str = "length",
    trailers: FieldsLike = None,
    close: bool = False,
) -> Reply:
    """A response with this body. No `Date` is added: the proxy's clock may be a fake one."""
    return Reply(status, pairs(fields), body, framing, trailers, close)


def fresh(seconds: int = 60, body: bytes = b"body", **fields: str) -> Reply:
    """200 with `Cache-Control: max-age=seconds`; keyword names become fields (`last_modified` →
    `Last-Modified`)."""
    lines = [("Cache-Control", f"max-age={seconds}")]
    lines += [(name.replace("_", "-").title(), value) for name, value in fields.items()]
    return reply(200, lines, body)


class PeerGone(Exception):  # noqa: N818 - reads as what happened
    """The proxy closed while a rule was answering; no failure by itself, counted in `Origin.aborted`."""


class Conn:
    """The origin's end of one connection."""

    def __init__(self, origin: Origin, sock: socket.socket, number: int) -> None:
        self.origin, self.number = origin, number
        self.wire = Wire(sock, origin.patience)
        self.over = False

    def read_request(self, *, lazy: bool = False) -> Request | None:
        """The next request, recorded; None at the end of the stream. `lazy` leaves the body to
        `request.reader`."""
        request = self.wire.request_head()
        if request is None:
            return None
        request.connection, request.conn = self.number, self
        request.reader = BodyReader(self.wire, request)
        self.origin._record(request)
        if not lazy:
            if (request["expect"] or "").lower() == "100-continue":
                self.send(b"HTTP/1.1 100 Continue\r\n\r\n")
            request.body = request.reader.rest()
        return request

    def expect(
        self,
        method: str | None = None,
        target: str | None = None,
        fields: FieldsLike = None,
        *,
        body: bytes | None = None,
        lazy: bool = False,
    ) -> Request:
        """Read the next request and compare what is given; AssertionError where it differs."""
        request = self.read_request(lazy=lazy)
        if request is None:
            raise WireError(f"connection {self.number}: expected {method} {target}, got the end")
        got = (request.method, request.target)
        wanted = (method or request.method, target or request.target)
        assert got == wanted, f"connection {self.number}: expected {wanted}, got {got}"
        for name, value in pairs(fields):
            assert request[name] == value, f"{name}: expected {value!r}, got {request[name]!r}"
        if body is not None:
            assert request.body == body
        return request

    def send(self, data: bytes | memoryview) -> None:
        try:
            self.wire.send(data)
        except (BrokenPipeError, ConnectionResetError, ssl.SSLError) as error:
            raise PeerGone from error

    def respond(
        self,
        status: int = 200,
        fields: FieldsLike = None,
        body: bytes = b"",
        *,
        framing: str = "length",
        close: bool = False,
        method: str = "GET",
    ) -> None:
        self.send(reply(status, fields, body, framing=framing, close=close).encode(method))
        if close or framing == "close":
            self.close()

    def head(self, status: int = 200, fields: FieldsLike = None) -> None:
        """Only a status line and these fields: the framing and the body are up to the caller."""
        self.send(status_line(status) + field_lines(fields) + b"\r\n")

    def chunk(self, data: bytes) -> None:
        self.send(b"%x\r\n%s\r\n" % (len(data), data))

    def end_chunks(self) -> None:
        self.send(b"0\r\n\r\n")

    def hold(self, signal: Signal) -> None:
        signal.wait(self.origin.patience)

    def stall(self) -> None:
        """Say nothing more until the proxy gives up or the origin is closed."""
        while not self.origin.closing.is_set():
            if not self.wire.silent(0.05) and self.wire.eof:
                return

    def expect_closed(self) -> None:
        rest = self.wire.until_closed()
        assert not rest, f"expected the end, got {rest[:200]!r}"

    def close(self) -> None:
        self.over = True
        try:
            self.wire.sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.wire.close()

    def reset(self) -> None:
        self.over = True
        self.wire.reset()


Step = Callable[[Conn], object]
Script = Step | Sequence[Step]
RuleFunction = Callable[[Request], Reply | None]
Rule = Reply | RuleFunction | Mapping[str, "Reply | RuleFunction"]


def expect(
    method: str | None = None, target: str | None = None, fields: FieldsLike = None, body: bytes | None = None
) -> Step:
    return lambda conn: conn.expect(method, target, fields, body=body)


def respond(
    status: int = 200,
    fields: FieldsLike = None,
    body: bytes = b"",
    *,
    framing: str = "length",
    close: bool = False,
) -> Step:
    return lambda conn: conn.respond(status, fields, body, framing=framing, close=close)


def send(data: bytes) -> Step:
    return lambda conn: conn.send(data)


def hold(signal: Signal) -> Step:
    return lambda conn: conn.hold(signal)


def close() -> Step:
    return lambda conn: conn.close()


def reset() -> Step:
    return lambda conn: conn.reset()


def stall() -> Step:
    return lambda conn: conn.stall()


class Origin:
    """A server on 127.0.0.1 and an ephemeral port, one thread a connection; a context manager."""

    def __init__(
        self,
        rule: Rule | None = None,
        *,
        scripts: Sequence[Script] = (),
        lazy: bool = False,
        tls: ssl.SSLContext | None = None,
        patience: float = PATIENCE,
        keep_alive: bool = True,
        port: int = 0,
    ) -> None:
        self.rule, self.scripts, self.lazy, self.tls = rule, list(scripts), lazy, tls
        self.patience, self.keep_alive = patience, keep_alive
        self.requests: list[Request] = []
        self.connections = 0
        self.aborted = 0
        self.errors: list[BaseException] = []
        self.conns: list[Conn] = []
        self.closing = threading.Event()
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", port), backlog=512)
        self.port: int = self._listener.getsockname()[1]

    @classmethod
    def scripted(
        cls, *scripts: Script, patience: float = PATIENCE, tls: ssl.SSLContext | None = None
    ) -> Origin:
        """The n-th connection runs the n-th script; one connection more than scripts is a failure."""
        return cls(scripts=scripts, patience=patience, tls=tls)

    @property
    def url(self) -> str:
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}"

    # -- what was seen

    def count(self, target: str | None = None, method: str | None = None) -> int:
        """Requests so far, of this target or path, of this method."""
        with self._lock:
            return sum(
                (target is None or target in (request.target, request.target.partition("?")[0]))
                and (method is None or method == request.method)
                for request in self.requests
            )

    def wait_for(self, count: int, target: str | None = None) -> None:
        """Until `count` requests have come."""
        eventually(
            lambda: self.count(target) >= count, f"{count} requests for {target or 'anything'} at the origin"
        )

    @property
    def last(self) -> Request:
        with self._lock:
            assert self.requests, "the origin has seen no request"
            return self.requests[-1]

    def received(self) -> bytes:
        """All bytes of all connections (the first MiB of each)."""
        return b"".join(bytes(conn.wire.received) for conn in self.conns)

    def _record(self, request: Request) -> None:
        with self._lock:
            self.requests.append(request)

    # -- life

    def __enter__(self) -> Origin:
        self._start(self._accept)
        return self

    def _start(self, work: Callable[..., None], *args: object) -> None:
        thread = threading.Thread(target=work, args=args, daemon=True, name="origin")
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            if self.closing.is_set():
                sock.close()
                return
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            number = self.connections
            self.connections += 1
            self._start(self._serve, sock, number)

    def _serve(self, sock: socket.socket, number: int) -> None:
        try:
            if self.tls is not None:
                sock = self.tls.wrap_socket(sock, server_side=True)
        except (OSError, ssl.SSLError):
            return  # the proxy did not like our certificate
        conn = Conn(self, sock, number)
        self.conns.append(conn)
        try:
            self._talk(conn)
        except PeerGone:
            self.aborted += 1
        except BaseException as error:
            if not (self.closing.is_set() or getattr(self, "_stopped", False)):
                self.errors.append(error)
        finally:
            if not conn.over:
                conn.close()

    def _talk(self, conn: Conn) -> None:
        if conn.number < len(self.scripts):
            script = self.scripts[conn.number]
            for step in [script] if callable(script) else script:
                step(conn)
        elif self.rule is not None:
            self._obey(conn)
        else:
            raise AssertionError(
                f"connection {conn.number + 1} to an origin with {len(self.scripts)} scripts"
            )

    def _obey(self, conn: Conn) -> None:
        while not conn.over:
            try:
                request = conn.read_request(lazy=self.lazy)
            except WireError as error:
                if conn.wire.eof:
                    raise PeerGone from error  # a client that left in mid-body takes its request with it
                raise
            if request is None:
                return
            answer = self._answer(request)
            if answer is not None:
                conn.send(answer.encode(request.method))
                if answer.close or answer.framing == "close" or not self.keep_alive:
                    conn.close()
            if self.lazy and not conn.over and request.reader is not None:
                self._drain(request.reader)  # or what is left of the body would be read as a request

    @staticmethod
    def _drain(reader: BodyReader) -> None:
        try:
            while reader.some():
                pass
        except WireError as error:
            raise PeerGone from error

    def _answer(self, request: Request) -> Reply | None:
        rule = self.rule
        if isinstance(rule, Mapping):
            found = rule.get(request.target) or rule.get(request.target.partition("?")[0])
            rule = found if found is not None else reply(404, {"Cache-Control": "no-store"}, b"no rule")
        return rule(request) if callable(rule) else rule

    def stop_listening(self) -> None:
        """From now on every dial is refused, and open connections are cut."""
        with self._lock:
            already, self._stopped = getattr(self, "_stopped", False), True
        if already:
            return
        try:
            self._listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self._listener.close()
        for conn in list(self.conns):
            conn.close()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.closing.set()
        self.stop_listening()
        deadline = time.monotonic() + PATIENCE
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        if error is None and self.errors:
            raise self.errors[0]
        if error is not None:
            for failure in self.errors:
                error.add_note(f"and at the origin: {failure!r}")


@contextmanager
def refusing_port() -> Iterator[int]:
    """A port on which every dial is refused, held for the length of the block."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
        sock.bind(("127.0.0.1", 0))
        yield sock.getsockname()[1]

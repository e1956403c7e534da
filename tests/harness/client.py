"""A client that says exactly the bytes it is told to and reads answers strictly.

It never retries, never reconnects and adds nothing but `Host`; whatever it did not expect is an
AssertionError.
"""

from __future__ import annotations

import socket
import ssl
import time
from types import TracebackType

from .sync import PATIENCE
from .wire import BodyReader, Closed, FieldsLike, Response, Wire, WireError, field_lines, pairs

HOST = "site.test"  # the Host of every request that does not name its own


def request_bytes(
    method: str = "GET",
    target: str = "/",
    fields: FieldsLike = None,
    body: bytes = b"",
    *,
    host: str | None = HOST,
    version: str = "HTTP/1.1",
) -> bytes:
    """One request as bytes. `Content-Length` is added for a body unless a framing field is given."""
    lines = pairs(fields)
    names = {name.lower() for name, _ in lines}
    if host is not None and "host" not in names:
        lines.insert(0, ("Host", host))
    if body and not names & {"content-length", "transfer-encoding"}:
        lines.append(("Content-Length", str(len(body))))
    return f"{method} {target} {version}\r\n".encode("latin-1") + field_lines(lines) + b"\r\n" + body


def chunked(*chunks: bytes, trailers: FieldsLike = None) -> bytes:
    """A chunked body of these chunks, with its end."""
    data = b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks)
    return data + b"0\r\n" + field_lines(trailers) + b"\r\n"


class RawClient:
    """One connection to the proxy."""

    def __init__(
        self,
        port: int,
        *,
        tls: bool = False,
        sni: str | None = HOST,
        timeout: float = PATIENCE,
        receive_buffer: int | None = None,
        segment: int | None = None,
        source: str | None = None,
    ) -> None:
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            if receive_buffer is not None:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
            if segment is not None:  # as far away as it gets: the kernel at the other end buffers by this
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, segment)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.settimeout(timeout)
            if source is not None:
                sock.bind((source, 0))
            sock.connect(("127.0.0.1", port))
            if tls:
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
                context.check_hostname = False
                context.verify_mode = ssl.CERT_NONE
                context.set_alpn_protocols(["http/1.1"])
                sock = context.wrap_socket(sock, server_hostname=sni)
        except BaseException:
            sock.close()
            raise
        self.wire = Wire(sock, timeout)

    @property
    def name(self) -> tuple[str, int]:
        """This end's address and port, as the proxy sees it."""
        address = self.wire.sock.getsockname()
        return address[0], address[1]

    # -- out

    def send(self, data: bytes) -> None:
        self.wire.send(data)

    def send_bytewise(self, data: bytes, pause: float = 0.0) -> None:
        """Every byte its own segment (as far as the kernel lets us)."""
        for index in range(len(data)):
            self.wire.send(data[index : index + 1])
            if pause:
                time.sleep(pause)

    def request(
        self,
        method: str = "GET",
        target: str = "/",
        fields: FieldsLike = None,
        body: bytes = b"",
        *,
        host: str | None = HOST,
        version: str = "HTTP/1.1",
    ) -> None:
        """Send one request; its answer is read by `read_response` or `read_head`."""
        self.send(request_bytes(method, target, fields, body, host=host, version=version))

    def half_close(self) -> None:
        self.wire.sock.shutdown(socket.SHUT_WR)

    # -- in

    def read_head(self, method: str = "GET") -> tuple[Response, BodyReader]:
        """The next response's head, and the reader of its body."""
        response = self.wire.response_head(method)
        return response, BodyReader(self.wire, response)

    def read_response(self, method: str = "GET", *, tolerate_abort: bool = False) -> Response:
        """The next response, complete. With `tolerate_abort` a body cut short is kept and marked
        `aborted`."""
        response, reader = self.read_head(method)
        parts: list[bytes] = []
        try:
            while data := reader.some():
                parts.append(data)
        except Closed:
            if not tolerate_abort:
                raise
            response.aborted = True
        response.body = b"".join(parts)
        return response

    def get(self, target: str = "/", fields: FieldsLike = None, *, host: str | None = HOST) -> Response:
        return self.ask("GET", target, fields, host=host)

    def ask(
        self,
        method: str = "GET",
        target: str = "/",
        fields: FieldsLike = None,
        body: bytes = b"",
        *,
        host: str | None = HOST,
        version: str = "HTTP/1.1",
    ) -> Response:
        """Send a request and read its answer."""
        self.request(method, target, fields, body, host=host, version=version)
        return self.read_response(method)

    def expect_closed(self) -> None:
        """The proxy closes now and sends nothing more."""
        rest = self.wire.until_closed()
        if rest:
            raise WireError(f"expected the end, got {rest[:200]!r}")

    def expect_open(self, seconds: float = 0.05) -> None:
        """Nothing comes and the connection stays for `seconds`."""
        if not self.wire.silent(seconds):
            raise WireError(f"expected silence, got {bytes(self.wire.buffer[:200])!r} (end: {self.wire.eof})")

    def close(self) -> None:
        self.wire.close()

    def reset(self) -> None:
        self.wire.reset()

    def __enter__(self) -> RawClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

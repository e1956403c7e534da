"""The general client of one server: aiohttp. Used for https origins; plain http goes by our own client,
bodies included.

Why so: our own client sends bodies with back-pressure, hears early answers and proves framing, so plain http
needs no second client. TLS goes by aiohttp for its connector (resolver, address racing, TLS set-up), except
for what it can't carry unchanged (`carries`) and for upgrades, which our own client does over TLS.

Decides how aiohttp is asked and how its answers are judged: as strictly as our own client, where aiohttp
shows enough. What it does not show:
- interim responses: never reported; a bare LF or a folded line in a head: accepted
- bytes behind a response: refused as MALFORMED when they come in one segment with it, else dropped; the
  connection is not used again either way
- a reset instead of a close at the end of a close-delimited body
- what had arrived before a body broke, when it was not read yet: dropped
- a dead connection under an idempotent request without a body: asked once more, even where it was a new one
- the first byte: `first_byte_ms` is the time of the head's end
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from functools import partial
from typing import NoReturn
from weakref import WeakMethod, WeakSet

import aiohttp
from aiohttp import ClientTimeout, hdrs
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection
from aiohttp.http_exceptions import ContentLengthError, HttpProcessingError
from multidict import CIMultiDict
from yarl import URL

from cdn.config.values import Address, Origin
from cdn.rules.message import Fields, ResponseHead
from cdn.tier._wire import CHUNKED, NO_BODY, request_head
from cdn.tier.call import Call, server_name
from cdn.tier.deadline import Deadline
from cdn.tier.seam import OWN_FIELDS, Kind, OriginError, OriginResponse

READ_BUFFER = 128 << 10  # aiohttp pauses the socket at twice this
MAX_LINE = 64 << 10
MAX_FIELDS = 256
AUTOMATIC = (hdrs.ACCEPT, hdrs.ACCEPT_ENCODING, hdrs.USER_AGENT, hdrs.CONTENT_TYPE)


def _url(address: Address, target: str) -> URL | None:
    """The URL whose request target is exactly `target`, or None where there is none."""
    try:
        url = URL(f"{address}{target}", encoded=True)
    except ValueError:
        return None
    return url if target.startswith("/") and url.raw_path_qs == target else None


def _text(value: str) -> str | None:
    """The text that aiohttp, which writes UTF-8, turns into the bytes of `value`; None: there is none."""
    if value.isascii():
        return value
    try:
        return value.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return None


def carries(address: Address, call: Call) -> bool:
    """Whether aiohttp can send this request byte for byte."""
    fields = call.request.fields
    return _url(address, call.request.target) is not None and all(_text(v) is not None for _, v in fields)


class _Upload:
    """A request's body on its way: says when it was all handed over, and what broke it."""

    def __init__(
        self, body: AsyncIterator[bytes], length: int | None, deadline: Deadline, wait_ms: int
    ) -> None:
        self._body = body
        self._left = length
        self._deadline = deadline
        self._wait_ms = wait_ms
        self.unwanted = False
        self.done = False
        self.failure: BaseException | None = None
        self.reader: aiohttp.StreamReader | None = None  # of the response, once its head has come

    async def pieces(self) -> AsyncIterator[bytes]:
        try:
            async for piece in self._body:
                if self.unwanted:
                    # Ending here would make a short body look whole: wait for the response to be closed.
                    await asyncio.get_running_loop().create_future()
                if self._left is not None:
                    self._left -= len(piece)
                    if self._left < 0:
                        raise OriginError(Kind.REQUEST_BODY, "the request's body is longer than its length")
                if piece:
                    yield bytes(piece)
            if self._left:
                raise OriginError(Kind.REQUEST_BODY, "the request's body is shorter than its length")
        except Exception as exc:
            self.failure = exc
            if self.reader is not None and not self.reader.is_eof():
                # aiohttp tells its connection, but not who reads the response's body.
                self.reader.set_exception(aiohttp.ClientConnectionError("the request's body ended early"))
            raise
        self.done = True
        self._deadline.start(self._wait_ms)


class _Response(aiohttp.ClientResponse):
    """Remembers its connection beyond the body's end, so that what is refused later still costs it."""

    wire: ResponseHandler | None = None

    async def start(self, connection: Connection) -> _Response:
        self.wire = connection.protocol
        await super().start(connection)
        return self

    def discard(self) -> None:
        """Close the connection, even where aiohttp holds the response for whole and has kept it."""
        self.close()
        if self.wire is not None:
            self.wire.close()


class GeneralResponse(OriginResponse):
    def __init__(
        self,
        response: _Response,
        head: ResponseHead,
        length: int | None,
        by_close: bool,
        server: str,
        upload: _Upload | None,
        deadline: Deadline,
        silence_ms: int,
    ) -> None:
        self._response = response
        self._upload = upload
        self._deadline = deadline
        self._silence_ms = silence_ms
        self._whole = False
        self._ended = False
        self._late = False
        self._error: OriginError | None = None
        self.head = head
        self.length = length
        self.delimited_by_close = by_close
        self.server = server
        self.connect_ms = 0.0
        self.first_byte_ms = 0.0
        late = WeakMethod(self._on_silence)  # weak, so that a response nobody holds goes at once
        deadline.on_late = lambda: (method := late()) and method()
        if response.wire is not None and response.wire.closed is not None and not response.content.is_eof():
            response.wire.closed.add_done_callback(partial(_on_closed, response.content, response.wire))

    @property
    def under_way(self) -> bool:
        return not self._ended and self._error is None

    @property
    def complete(self) -> bool:
        return self._whole

    async def read(self) -> bytes:
        if self._error is not None:
            raise self._error
        if self._ended:
            return b""
        content = self._response.content
        try:
            piece = content.read_nowait(-1) if content.total_bytes and not content.is_eof() else b""
            if not piece:
                self._deadline.start(self._silence_ms)
                try:
                    piece = await content.readany()
                finally:
                    self._deadline.stop()
        except (aiohttp.ClientError, OSError) as exc:
            self._error = self._judge(exc)
            self._response.close()
            raise self._error from exc
        if not piece:
            self._end()
        return piece

    def _end(self) -> None:
        self._ended = True
        self._whole = not self.delimited_by_close
        if self._upload is not None and not self._upload.done:
            self._response.close()

    def _judge(self, exc: BaseException) -> OriginError:
        if self._late:
            kind, detail = (
                Kind.BETWEEN_BYTES_TIMEOUT,
                f"silent for {self._silence_ms / 1000:g} s inside the body",
            )
        elif self._upload is not None and self._upload.failure is not None:
            kind, detail = Kind.REQUEST_BODY, "the request's body ended early"
        elif isinstance(exc, aiohttp.ClientConnectionError) or isinstance(exc.__cause__, OSError):
            kind, detail = Kind.RESET, f"the connection broke ({type(exc).__name__})"
        elif isinstance(exc.__cause__, ContentLengthError) or "not completed" in str(exc):
            kind, detail = Kind.TRUNCATED, "the response's body is shorter than its framing says"
        else:
            kind, detail = Kind.MALFORMED, "the response's chunks are malformed"
        return OriginError(kind, detail, server=self.server, sent=True, received=True)

    def _on_silence(self) -> None:
        self._late = True
        self._response.close()

    def abort(self) -> None:
        self._deadline.stop()
        if not self._ended:
            self._response.close()
            if self._error is None:
                self._error = OriginError(Kind.RESET, "the exchange was given up", sent=True, received=True)

    def __del__(self) -> None:
        self.abort()


def _on_closed(content: aiohttp.StreamReader, wire: ResponseHandler, closed: asyncio.Future[None]) -> None:
    """A fault inside a chunked body closes the connection, but aiohttp does not tell the body's reader."""
    if not closed.cancelled():
        closed.exception()
    if not content.is_eof() and content.exception() is None:
        if isinstance(wire.exception(), HttpProcessingError):
            content.set_exception(aiohttp.ClientPayloadError("the response's chunks are malformed"))
        else:
            content.set_exception(aiohttp.ClientConnectionError("the connection was closed"))


class GeneralServer:
    """One server behind an aiohttp session of its own: no cookies, no redirects, no proxies, nothing
    automatic."""

    def __init__(
        self, origin: Origin, address: Address, loop: asyncio.AbstractEventLoop, tls: ssl.SSLContext | None
    ) -> None:
        self._origin = origin
        self._address = address
        self._loop = loop
        self._tls = tls
        self._name = server_name(origin, address) if address.scheme == "https" else None
        self._session: aiohttp.ClientSession | None = None
        self._asking = 0
        self._answers: WeakSet[GeneralResponse] = WeakSet()
        self._timeout = ClientTimeout(total=None, connect=origin.timeouts.connect / 1000)

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            trace = aiohttp.TraceConfig()
            trace.on_request_headers_sent.append(_headers_sent)
            trace.on_connection_create_start.append(_connecting)
            trace.on_connection_create_end.append(_connected)
            trace.on_connection_reuseconn.append(_connected)
            connector = aiohttp.TCPConnector(
                limit=0,
                keepalive_timeout=self._origin.timeouts.idle / 1000,
                ssl=self._tls or True,
                loop=self._loop,
            )
            self._session = aiohttp.ClientSession(
                connector=connector,
                response_class=_Response,
                cookie_jar=aiohttp.DummyCookieJar(loop=self._loop),
                skip_auto_headers=AUTOMATIC,
                auto_decompress=False,
                trust_env=False,
                requote_redirect_url=False,
                timeout=self._timeout,
                read_bufsize=READ_BUFFER,
                max_line_size=MAX_LINE,
                max_field_size=MAX_LINE,
                max_headers=MAX_FIELDS,
                trace_configs=[trace],
            )
        return self._session

    async def fetch(self, call: Call) -> OriginResponse:
        request, origin = call.request, self._origin
        length = call.body_length
        size = NO_BODY if call.body is None and length is None else CHUNKED if length is None else length
        request_head(request.method, request.target, call.host, request.fields, size)  # the same refusals
        url = _url(self._address, request.target)
        if url is None:
            raise OriginError(Kind.UNSENDABLE, "the target can't be sent unchanged")
        headers = CIMultiDict([("Host", call.host)])
        for name, value in request.fields:
            if name.lower() not in OWN_FIELDS:
                headers.add(name, _text(value) or "")
        attempt = _Attempt(self._loop, origin.timeouts.first_byte)
        upload = None
        if call.body is not None:
            upload = _Upload(call.body, length, attempt.deadline, origin.timeouts.first_byte)
            if length is not None:
                headers["Content-Length"] = str(length)
        elif size >= 0 or request.method in ("POST", "PUT", "PATCH"):
            headers["Content-Length"] = str(max(size, 0))
        attempt.waits_for_body = upload is not None
        self._asking += 1
        try:
            response = await self._request(call, url, headers, attempt, upload)
            answer = self._accept(call, response, attempt, upload)
        finally:
            self._asking -= 1
        self._answers.add(answer)
        return answer

    @property
    def busy(self) -> bool:
        """Whether a request or a response is under way."""
        return self._asking > 0 or any(answer.under_way for answer in self._answers)

    async def _request(
        self, call: Call, url: URL, headers: CIMultiDict[str], attempt: _Attempt, upload: _Upload | None
    ) -> _Response:
        try:
            async with asyncio.timeout(None) as limit:
                attempt.deadline.on_late = lambda: limit.reschedule(0)
                try:
                    response = await self._open().request(
                        call.request.method,
                        url,
                        headers=headers,
                        data=None if upload is None else upload.pieces(),
                        allow_redirects=False,
                        server_hostname=self._name,
                        trace_request_ctx=attempt,
                    )
                    assert isinstance(response, _Response)
                    return response
                finally:
                    attempt.deadline.stop()
        except BaseException as exc:
            attempt.deadline.close()
            if upload is not None and upload.failure is not None:
                raise upload.failure from None
            if not isinstance(exc, (aiohttp.ClientError, OSError, TimeoutError, ValueError)):
                raise
            self._refuse(exc, attempt)

    def _refuse(self, exc: BaseException, attempt: _Attempt) -> NoReturn:
        received = False
        if isinstance(exc, aiohttp.ConnectionTimeoutError):
            kind, detail = (
                Kind.CONNECT_TIMEOUT,
                f"no connection within {self._origin.timeouts.connect / 1000:g} s",
            )
        elif isinstance(exc, TimeoutError):
            kind = Kind.FIRST_BYTE_TIMEOUT
            detail = f"no response head within {self._origin.timeouts.first_byte / 1000:g} s"
        elif isinstance(exc, aiohttp.ClientConnectorDNSError):
            kind, detail = Kind.DNS, "its name can't be resolved"
        elif isinstance(exc, (aiohttp.ClientSSLError, ssl.SSLError)):
            kind, detail = Kind.TLS, f"TLS failed ({type(exc).__name__})"
        elif isinstance(exc, aiohttp.ClientConnectorError):
            kind, detail = Kind.CONNECT_REFUSED, f"no connection ({exc.os_error.strerror})"
        elif isinstance(exc, (aiohttp.ClientResponseError, aiohttp.ClientPayloadError)):
            kind, detail, received = Kind.MALFORMED, "the response head is malformed or too large", True
        elif isinstance(exc, (aiohttp.InvalidURL, ValueError)):
            kind, detail = Kind.UNSENDABLE, "the request can't be sent"
        else:
            kind, detail = Kind.RESET, "the connection was closed before a response head"
        raise OriginError(
            kind, detail, server=str(self._address), sent=attempt.sent, received=received
        ) from exc

    def _accept(
        self, call: Call, response: _Response, attempt: _Attempt, upload: _Upload | None
    ) -> GeneralResponse:
        try:
            head = _head(response)
            bodyless = call.request.method == "HEAD" or response.status in (204, 304)
            declared = _declared(head)
        except ValueError as exc:
            response.discard()
            attempt.deadline.close()
            raise OriginError(
                Kind.MALFORMED, f"{exc}", server=str(self._address), sent=True, received=True
            ) from None
        coded = "transfer-encoding" in head.fields
        by_close = not bodyless and not coded and declared is None
        if upload is not None:
            if upload.failure is not None:
                response.discard()
                raise upload.failure
            upload.unwanted = response.status >= 300
            upload.reader = response.content
        answer = GeneralResponse(
            response,
            head,
            0 if bodyless else declared,
            by_close,
            str(self._address),
            upload,
            attempt.deadline,
            self._origin.timeouts.between_bytes,
        )
        answer.connect_ms = attempt.connect_ms
        answer.first_byte_ms = (self._loop.time() - attempt.sent_at) * 1000
        return answer

    async def close(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()


class _Attempt:
    """What aiohttp's trace tells about one request."""

    def __init__(self, loop: asyncio.AbstractEventLoop, wait_ms: int) -> None:
        self.loop = loop
        self.deadline = Deadline(loop, lambda: None)
        self.wait_ms = wait_ms
        self.waits_for_body = False
        self.began = self.sent_at = loop.time()
        self.connect_ms = 0.0
        self.sent = False


async def _connecting(session: aiohttp.ClientSession, context: object, params: object) -> None:
    attempt = _attempt(context)
    attempt.began = attempt.loop.time()


async def _connected(session: aiohttp.ClientSession, context: object, params: object) -> None:
    attempt = _attempt(context)
    if isinstance(params, aiohttp.TraceConnectionCreateEndParams):
        attempt.connect_ms = (attempt.loop.time() - attempt.began) * 1000


async def _headers_sent(session: aiohttp.ClientSession, context: object, params: object) -> None:
    attempt = _attempt(context)
    attempt.sent = True
    attempt.sent_at = attempt.loop.time()
    if not attempt.waits_for_body:
        attempt.deadline.start(attempt.wait_ms)


def _attempt(context: object) -> _Attempt:
    attempt = getattr(context, "trace_request_ctx", None)
    assert isinstance(attempt, _Attempt)
    return attempt


def _head(response: aiohttp.ClientResponse) -> ResponseHead:
    """The head as received, or ValueError with what our own client would refuse in it."""
    version = response.version
    if version is None or version.major != 1 or version.minor not in (0, 1):
        raise ValueError("the response's version is not HTTP/1.0 or HTTP/1.1")
    if response.status < 200:
        raise ValueError("the origin switched protocols without being asked")
    lines = []
    for raw_name, raw_value in response.raw_headers:
        if any((byte < 32 and byte != 9) or byte == 127 for byte in raw_name + raw_value):
            raise ValueError("the response has a control character in a field")
        lines.append((raw_name.decode("latin-1"), raw_value.decode("latin-1")))
    return ResponseHead(response.status, Fields(lines), response.reason or "", (version.major, version.minor))


def _declared(head: ResponseHead) -> int | None:
    """The Content-Length, None without one; ValueError where the framing is ambiguous (RFC 9112 §6.3)."""
    codings = head.fields.all("transfer-encoding")
    lengths = head.fields.all("content-length")
    if codings and (codings[1:] or codings[0].lower() != "chunked" or lengths or head.version == (1, 0)):
        raise ValueError("the response's Transfer-Encoding is ambiguous")
    if not lengths:
        return None
    members = {member.strip(" \t") for line in lengths for member in line.split(",")}
    if len(members) > 1 or not all(member.isascii() and member.isdigit() for member in members):
        raise ValueError("the response's Content-Length is ambiguous")
    return int(members.pop())

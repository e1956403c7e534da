"""https origins: verified by default, by the configured Host where there is one, and asked like any other."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from cdn.config.values import Origin, OriginTls
from cdn.rules.message import Fields
from cdn.tier import Origins
from cdn.tier.seam import OriginError, OriginRequest, Tunnel
from tests.tier.certificates import Authority
from tests.tier.scripted import Peer, asking, drain, origin_of, pieces, run, scripted, serving

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.create(tmp_path_factory.mktemp("ca"))


def test_verified_and_kept(authority: Authority) -> None:
    async def main() -> None:
        async with (
            scripted(serving(OK, OK, OK), authority.server("IP:127.0.0.1")) as origin,
            asking("own", origin_of(origin.port, scheme="https"), authority.client()) as asker,
        ):
            for _ in range(3):
                got = await asker.ask()
                assert (got.body, got.complete) == (b"ok", True), got.error
            assert origin.connections == 1

    run(main())


@pytest.mark.parametrize("wrong", ["authority", "name", "plain"])
def test_refused(wrong: str, authority: Authority) -> None:
    async def main() -> None:
        server = (
            None if wrong == "plain" else authority.server("DNS:other" if wrong == "name" else "IP:127.0.0.1")
        )
        trusted = ssl.create_default_context() if wrong == "authority" else authority.client()

        async def script(peer: Peer) -> None:
            if wrong == "plain":
                await peer.send(b"220 not TLS at all\r\n")
                await peer.closed()
                return
            assert await peer.request() == b"", "a request left to a server that was not verified"

        async with (
            scripted(script, server) as origin,
            asking("own", origin_of(origin.port, scheme="https"), trusted) as asker,
        ):
            got = await asker.ask()
            assert got.kind == "tls", got.error
            assert got.error is not None
            assert (got.error.status, got.error.sent) == (502, False)

    run(main())


def test_the_configured_host_is_the_name_verified_and_asked_for(authority: Authority) -> None:
    asked: list[str | None] = []
    server = authority.server("DNS:app.example")

    def sni(_: ssl.SSLObject, name: str | None, __: ssl.SSLContext) -> None:
        asked.append(name)

    server.sni_callback = sni  # type: ignore[assignment]

    async def script(peer: Peer) -> None:
        assert b"\r\nHost: app.example\r\n" in await peer.request()
        await peer.send(OK)
        await peer.closed()

    async def main() -> None:
        async with scripted(script, server) as origin:
            configured = origin_of(origin.port, scheme="https", host="app.example")
            async with asking("own", configured, authority.client()) as asker:
                got = await asker.ask()
                assert got.body == b"ok", got.error

    run(main())
    assert asked == ["app.example"]


def test_the_systems_authorities_by_default(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main(trusted: bool) -> None:
        async with scripted(serving(OK), authority.server("IP:127.0.0.1")) as origin:
            origins = Origins({"app": origin_of(origin.port, scheme="https")})
            request = OriginRequest("GET", "/", "h")
            if trusted:
                response = await origins.fetch("app", request, None, body_length=None)
                assert (await drain(response)).body == b"ok"
            else:
                with pytest.raises(OriginError, match="its certificate is refused"):
                    await origins.fetch("app", request, None, body_length=None)
            await origins.close()

    run(main(trusted=False))
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    run(main(trusted=True))


@pytest.mark.parametrize(
    "target",
    [
        "/",
        "/a%2fb/./%2e%2e/c?x=%41&y=a+b",
        "/?",
        "/a?",
        "//two",
        "/%e9%C3",
        "/a;b=c,d?e=f;g",
        "/:80@h/",
        "*",
        "/a?b?c",
    ],
)
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_targets_arrive_byte_for_byte(scheme: str, target: str, authority: Authority) -> None:
    seen: list[bytes] = []

    async def script(peer: Peer) -> None:
        seen.append(await peer.request())
        await peer.send(OK)
        await peer.closed()

    async def main() -> None:
        server = authority.server("IP:127.0.0.1") if scheme == "https" else None
        async with scripted(script, server) as origin:
            origins = Origins({"app": origin_of(origin.port, scheme=scheme)}, tls=authority.client())
            fields = Fields(
                [("X-Raw", "\xe9\xff"), ("X-Utf", "\xc3\xa9"), ("Cookie", "a=b"), ("Cookie", "c=d")]
            )
            response = await origins.fetch(
                "app", OriginRequest("GET", target, "www.example.com:8080", fields), None, body_length=None
            )
            assert (await drain(response)).body == b"ok"
            await origins.close()

    run(main())
    head = seen[0].split(b"\r\n")
    assert head[0] == b"GET " + target.encode("latin-1") + b" HTTP/1.1"
    assert sorted(head[1:]) == sorted(
        [
            b"Host: www.example.com:8080",
            b"X-Raw: \xe9\xff",
            b"X-Utf: \xc3\xa9",
            b"Cookie: a=b",
            b"Cookie: c=d",
            b"",
            b"",
        ]
    )


def test_nothing_is_added(authority: Authority) -> None:
    seen: list[bytes] = []

    async def script(peer: Peer) -> None:
        seen.append(await peer.request())
        await peer.send(OK)
        await peer.closed()

    async def main() -> None:
        async with (
            scripted(script, authority.server("IP:127.0.0.1")) as origin,
            asking("own", origin_of(origin.port, scheme="https"), authority.client()) as asker,
        ):
            fields = Fields([("X-Utf", "\xc3\xa9"), ("Set-Cookie", "no=jar")])
            assert (await asker.ask(target="/x?y", fields=fields)).body == b"ok"

    run(main())
    assert seen == [
        b"GET /x?y HTTP/1.1\r\nHost: www.example.com\r\nX-Utf: \xc3\xa9\r\nSet-Cookie: no=jar\r\n\r\n"
    ]


def test_bodies_over_tls(authority: Authority) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        body = await peer.reader.readexactly(600_000)
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        await peer.closed()

    async def main() -> None:
        async with (
            scripted(script, authority.server("IP:127.0.0.1")) as origin,
            asking("own", origin_of(origin.port, scheme="https"), authority.client()) as asker,
        ):
            body = pieces(*(bytes([i]) * 100_000 for i in range(6)))
            got = await asker.ask("PUT", body=body, body_length=600_000)
            assert got.complete, got.error
            assert got.body == b"".join(bytes([i]) * 100_000 for i in range(6))

    run(main())


def test_an_upgrade_over_tls(authority: Authority) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 101 S\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
        await peer.send((await peer.reader.readexactly(4)).upper())
        await peer.closed()

    async def main() -> None:
        async with scripted(script, authority.server("IP:127.0.0.1")) as origin:
            origins = Origins({"app": origin_of(origin.port, scheme="https")}, tls=authority.client())
            tunnel = await origins.upgrade("app", OriginRequest("GET", "/", "h"))
            assert isinstance(tunnel, Tunnel)
            await tunnel.write(b"ping")
            assert await tunnel.read() == b"PING"
            tunnel.abort()
            await origins.close()

    run(main())


async def one(origin: Origin, target: str = "/") -> str:
    """The body that a configured origin gives, or the kind and detail of what went wrong."""
    origins = Origins({"app": origin})
    try:
        response = await origins.fetch("app", OriginRequest("GET", target, "h"), None, body_length=None)
        got = await drain(response)
        return got.body.decode() if got.error is None else f"{got.kind}: {got.error.detail}"
    except OriginError as error:
        return f"{error.kind.value}: {error.detail}"
    finally:
        await origins.close()


def configured(port: int, **tls: Any) -> Origin:
    return replace(origin_of(port, scheme="https"), tls=OriginTls(**tls))


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("authority", "unable to get local issuer certificate"),
        ("name", "IP address mismatch"),
        ("expired", "certificate has expired"),
    ],
)
def test_what_is_wrong_with_a_certificate_is_said(wrong: str, said: str, authority: Authority) -> None:
    async def main() -> None:
        names = ("DNS:other",) if wrong == "name" else ("IP:127.0.0.1",)
        server = authority.server(*names, days=-1 if wrong == "expired" else 2)
        ca = None if wrong == "authority" else str(authority.file)
        async with scripted(serving(OK), server) as origin:
            got = await one(configured(origin.port, ca=ca))
            assert got.startswith("tls: its certificate is refused")
            assert said in got
            # Whoever switches verification off gets an answer from anybody.
            assert await one(configured(origin.port, verify=False)) == "ok"

    run(main())


def test_a_name_of_the_configurations_own(authority: Authority) -> None:
    asked: list[str | None] = []
    server = authority.server("DNS:inner.example")
    server.sni_callback = lambda _, name, __: asked.append(name)  # type: ignore[assignment]

    async def main() -> None:
        async with scripted(serving(OK), server) as origin:
            right = configured(origin.port, ca=str(authority.file), name="inner.example")
            assert await one(replace(right, host="outer.example")) == "ok"
            assert "mismatch" in await one(configured(origin.port, ca=str(authority.file)))

    run(main())
    assert asked == ["inner.example", None]


@contextlib.contextmanager
def blocking(server: ssl.SSLContext) -> Iterator[int]:
    """A server of the ssl module's own, which tells by an alert why it refuses; asyncio's hangs up."""

    def work() -> None:
        with contextlib.suppress(OSError):
            while True:
                plain, _ = listener.accept()
                plain.settimeout(5)
                with contextlib.suppress(OSError), server.wrap_socket(plain, server_side=True) as sock:
                    while sock.recv(65536):
                        sock.sendall(OK)
                plain.close()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=work, daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])
def test_a_server_that_wants_our_certificate(version: ssl.TLSVersion, authority: Authority) -> None:
    leaf, key = authority.leaf("DNS:client")
    server = authority.server("IP:127.0.0.1")
    server.verify_mode = ssl.CERT_REQUIRED
    server.load_verify_locations(authority.file)
    server.maximum_version = version

    async def main(port: int) -> None:
        ours = {"certificate": str(leaf), "key": str(key)}
        assert await one(configured(port, ca=str(authority.file), **ours)) == "ok"
        got = await one(configured(port, ca=str(authority.file)))
        assert got.startswith("tls: TLS failed"), got

    with blocking(server) as port:
        run(main(port))


def test_the_oldest_version(authority: Authority) -> None:
    server = authority.server("IP:127.0.0.1")
    server.maximum_version = ssl.TLSVersion.TLSv1_2

    async def main() -> None:
        async with scripted(serving(OK, OK), server) as origin:
            assert await one(configured(origin.port, ca=str(authority.file))) == "ok"
            got = await one(configured(origin.port, ca=str(authority.file), minimum="1.3"))
            assert got.startswith("tls: TLS failed")

    run(main())


def test_only_http_1_1_is_offered(authority: Authority) -> None:
    server = authority.server("IP:127.0.0.1")
    server.set_alpn_protocols(["h2", "http/1.1"])
    chosen: list[str | None] = []

    async def script(peer: Peer) -> None:
        await peer.request()
        chosen.append(peer.writer.get_extra_info("ssl_object").selected_alpn_protocol())
        await peer.send(OK)

    async def main() -> None:
        async with scripted(script, server) as origin:
            assert await one(configured(origin.port, ca=str(authority.file))) == "ok"

    run(main())
    assert chosen == ["http/1.1"]


def test_a_body_that_the_close_ends_needs_the_end_of_tls_too(authority: Authority) -> None:
    """RFC 9112 §9.8: a connection that is cut is no end. With a length the length says it."""

    async def main() -> None:
        async def script(peer: Peer) -> None:
            cut = b"cut" in await peer.request()
            await peer.send(b"HTTP/1.1 200 OK\r\n\r\nhello")
            if cut:
                await asyncio.sleep(0.05)
                peer.writer.transport.abort()  # FIN, without the end of TLS

        async with scripted(script, authority.server("IP:127.0.0.1")) as origin:
            right = configured(origin.port, ca=str(authority.file))
            assert await one(right, "/whole") == "hello"
            assert (await one(right, "/cut")).startswith("truncated: ")

    run(main())


def test_interim_responses_over_tls(authority: Authority) -> None:
    heard: list[tuple[int, Fields]] = []
    wire = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 102 P\r\n\r\n" + OK

    async def main() -> None:
        async with scripted(serving(wire), authority.server("IP:127.0.0.1")) as origin:
            origins = Origins({"app": configured(origin.port, ca=str(authority.file))})
            request = OriginRequest("GET", "/", "h")
            response = await origins.fetch(
                "app", request, None, body_length=None, on_interim=lambda *told: heard.append(told)
            )
            assert (await drain(response)).body == b"ok"
            await origins.close()

    run(main())
    assert heard == [(103, Fields([("Link", "</a>")])), (102, Fields())]

"""Every key of an origin: its servers, how they are chosen, watched and spoken to. See `schema` for the rest."""

from __future__ import annotations

from typing import Any

from cdn.config import addresses, document, names
from cdn.config.checks import check_eject, check_pool
from cdn.config.files import ReadableFile, check_origin_tls
from cdn.config.kinds import BAD, Choice, Count, Flag, Reader, Text, duration, nullable
from cdn.config.schema_sources import BUCKET, DIRECTORY, NOT_A_BUCKETS, NOT_A_FOLDERS
from cdn.config.schema_sources import check_origin as check_source
from cdn.config.sections import Key, ListOf, MapOf, Section
from cdn.config.values import (
    Connections,
    Eject,
    HealthCheck,
    Origin,
    OriginTimeouts,
    OriginTls,
    Retry,
    Server,
)


class Origins(MapOf):
    def read_item(self, name: Any, node: document.Node, path: str, reader: Reader) -> Any:
        assert isinstance(self.kind, Section)
        values = self.kind.read_values(node, path, reader)
        if name is BAD or any(value is BAD for value in values.values()):
            return BAD
        return Origin(name=name, **values)

    def read(self, node: document.Node, path: str, reader: Reader) -> Any:
        pairs = super().read(node, path, reader)
        return BAD if pairs is BAD else dict(pairs)

    def show(self, value: Any) -> Any:
        return super().show(value.items())


class OriginSection(Section):
    def show(self, value: Any) -> Any:
        """Without what an origin of its kind cannot have."""
        shown = super().show(value)
        without = (
            NOT_A_FOLDERS if value.directory is not None else NOT_A_BUCKETS if value.s3 is not None else ()
        )
        return {name: part for name, part in shown.items() if name not in without}


def _check_origin(node: document.Mapping, values: dict[str, Any], path: str, reader: Reader) -> None:
    check_source(node, values, path, reader)
    check_pool(node, values, path, reader)


SERVER = Section(
    Server,
    (
        Key(
            "url",
            Text("a URL such as `http://127.0.0.1:9000`", addresses.parse_server),
            "Scheme, host and port; the port is 80 or 443 when left out. A path is not part of it. "
            "`unix:/run/app.sock` is a unix socket.",
            "address",
        ),
        Key("weight", Count(1, 1000), "Its share of the requests beside the other servers."),
        Key("drain", Flag(), "Whether it gets no new request, while those under way may end."),
    ),
    "origins.NAME.servers[]",
    short=True,
)
TLS = Section(
    OriginTls,
    (
        Key("verify", Flag(), "Whether a server's certificate must be right; `false` believes anybody."),
        Key("ca", ReadableFile(), "PEM file of the authorities to believe; left out: the system's."),
        Key(
            "name",
            nullable(Text("a host name", addresses.parse_server_name)),
            "The name asked for (SNI) and verified; `null`: the origin's `host`, or else the server's own.",
        ),
        Key("certificate", ReadableFile(), "PEM file with our own certificate, for servers that want one."),
        Key("key", ReadableFile(), "PEM file with its private key, without a passphrase."),
        Key("minimum", Choice(("1.2", "1.3")), "The oldest version of TLS that is spoken."),
    ),
    "origins.NAME.tls",
    check_origin_tls,
)
CONNECTIONS = Section(
    Connections,
    (
        Key(
            "per_server",
            nullable(Count(1, 1_000_000)),
            "Requests that each worker has under way at once with one server; `null`: no limit.",
        ),
        Key("queue", Count(0, 1_000_000), "Requests that may wait for a place; beyond it 503."),
        Key("wait", duration("5s", "1ms", "10m"), "How long one may wait; then 503."),
    ),
    "origins.NAME.connections",
)
RETRY = Section(
    Retry,
    (
        Key("tries", Count(1, 16), "Servers asked for one request, at most; 1: no other server is asked."),
        Key(
            "budget",
            Count(0, 100),
            "Further tries, in percent of the requests of the last ten seconds.",
        ),
        Key("minimum", Count(0, 1_000_000), "So many further tries more, in the same time."),
        Key(
            "within", duration("20s", "0s", "1d"), "No further try begins later than this after the request."
        ),
    ),
    "origins.NAME.retry",
)
EJECT = Section(
    Eject,
    (
        Key(
            "failures",
            Count(1, 1_000_000),
            "So many failures in a row eject a server; a connection that can't be made does at once.",
        ),
        Key(
            "statuses",
            ListOf(Count(400, 599), "[502, 503, 504]"),
            "Answers that count as failures. They are passed on all the same.",
        ),
        Key(
            "pause", duration("2s", "100ms", "1d"), "How long it is left alone; doubled when it fails again."
        ),
        Key("longest", duration("30s", "100ms", "1d"), "The longest that it is left alone."),
        Key(
            "slow_return",
            duration("10s", "0s", "1d"),
            "How long its share takes to grow from a tenth to the whole when it is back.",
        ),
    ),
    "origins.NAME.eject",
    check_eject,
)
HEALTH = Section(
    HealthCheck,
    (
        Key("path", Text("a path such as /healthz", names.parse_check_path), "What is asked for, by GET."),
        Key("every", duration("5s", "100ms", "1d"), "The time between two checks of a server."),
        Key("timeout", duration("2s", "10ms", "10m"), "A check without its answer by then has failed."),
        Key(
            "statuses",
            ListOf(Count(200, 599), "[200, 204]"),
            "The answers that pass; `[]`: every 2xx.",
        ),
        Key("rise", Count(1, 1000), "So many passed checks in a row bring a server up."),
        Key("fall", Count(1, 1000), "So many failed checks in a row take it down."),
        Key(
            "host",
            nullable(Text("a host name", addresses.parse_authority)),
            "The `Host` of a check; `null`: the origin's `host`, or else the server's own.",
        ),
    ),
    "origins.NAME.health",
)
TIMEOUTS = Section(
    OriginTimeouts,
    (
        Key("connect", duration("2s", "1ms", "10m"), "To a connection, name and TLS included."),
        Key(
            "first_byte",
            duration("15s", "1ms", "1d"),
            "From the request to the head of its answer; then 504.",
        ),
        Key("idle", duration("4s", "0s", "1d"), "A kept connection unused for longer is not used again."),
        Key("between_bytes", duration("15s", "1ms", "1d"), "The longest silence inside a response body."),
        Key(
            "total",
            nullable(duration("1m", "10ms", "1d")),
            "From the request to the end of its answer, every try and the body included; `null`: no limit.",
        ),
    ),
    "origins.NAME.timeouts",
)
_BACKUP = ListOf(SERVER, "[http://127.0.0.1:9000]", None, lambda server: server.address)
ORIGIN = OriginSection(
    Origin,
    (
        Key(
            "servers",
            ListOf(SERVER, "[http://127.0.0.1:9000]", "name at least one", lambda server: server.address),
            "The servers that all give the same answers.",
        ),
        Key("backup", _BACKUP, "Servers that are asked when none of `servers` can be."),
        Key(
            "host",
            nullable(Text("a host name", addresses.parse_authority)),
            "The `Host` sent to it; `null`: the one the client sent.",
        ),
        Key(
            "balance",
            Choice(("round_robin", "least_connections", "hash")),
            "Which server is next; `hash`: each URL has its server.",
        ),
        Key("health", nullable(HEALTH), "Active health checks; `null`: none."),
        Key("eject", EJECT, "When a server that fails is left alone."),
        Key("retry", RETRY, "When another server is asked."),
        Key("connections", CONNECTIONS, "How much is asked of a server at once."),
        Key("timeouts", TIMEOUTS, "How long to wait for it."),
        Key("tls", TLS, "How https servers are spoken to."),
        Key(
            "resolve",
            duration("30s", "1s", "1d"),
            "After what time the name of a server is looked up again at the latest; sooner where its TTL is over.",
        ),
        Key("directory", DIRECTORY, "Files of a folder, instead of servers."),
        Key("s3", BUCKET, "A bucket of an S3-compatible object store, instead of servers."),
    ),
    "origins.NAME",
    _check_origin,
)
ORIGINS = Origins(Text("an origin's name", names.parse_origin_name), ORIGIN, empty="name at least one origin")

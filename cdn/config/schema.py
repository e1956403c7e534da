"""Every key of the configuration: its kind, its bounds, one line of help.

The reader, the normalised output and docs/configuration.md are made from these tables. Defaults are those of
`values`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from cdn.config import addresses, document, names
from cdn.config.checks import check_admin
from cdn.config.files import LogTarget, MakeableFolder, ReadableFile, check_listener
from cdn.config.kinds import (
    BAD,
    Choice,
    Count,
    Kind,
    Or,
    Reader,
    Text,
    duration,
    moment,
    nullable,
    or_off,
    percent,
    rate,
    size,
)
from cdn.config.schema_bus import bus
from cdn.config.schema_origins import ORIGIN, ORIGINS
from cdn.config.schema_routes import ROUTES
from cdn.config.schema_shields import EDGES, check_tiers, shields
from cdn.config.sections import Key, ListOf, MapOf, Section
from cdn.config.values import (
    AccessLog,
    Admin,
    Config,
    DiskConfig,
    Limits,
    Listener,
    Node,
    StoreConfig,
    Tier,
    Timeouts,
)


class BoundUrl(Text):
    """A URL to listen on; two of them must not collide."""

    def read(self, node: document.Node, path: str, reader: Reader) -> Any:
        address = super().read(node, path, reader)
        if address is not BAD:
            reader.bound.append((node.line, path.removesuffix(".url"), address))
        return address


class Log(Section):
    def show(self, value: Any) -> Any:
        kind = self.keys[0].kind
        assert kind is not None
        return {"access": kind.show(value)}


def _access(access: AccessLog | None) -> AccessLog | None:
    return access


LISTEN_URL = BoundUrl("a URL such as `http://127.0.0.1:8080`", addresses.parse_listener)

NODE = Section(
    Node,
    (
        Key(
            "name",
            Text("a name", names.parse_node_name),
            "How this node calls itself in `Via` and `Cache-Status`.",
        ),
        Key(
            "tier",
            Choice(("edge", "shield"), (), Tier, lambda tier: str(tier.value)),
            "`edge` talks to clients; a `shield` stands between edges and origins ([tiers](tiers.md)).",
        ),
    ),
    "node",
)
LISTENER = Section(
    Listener,
    (
        Key(
            "url",
            LISTEN_URL,
            "Scheme, address and port; the port is 80 or 443 when left out, 0 takes a free one.",
            "address",
        ),
        Key("certificate", ReadableFile(), "PEM file with the certificate and its chain; https only."),
        Key("key", ReadableFile(), "PEM file with the private key, without a passphrase; https only."),
        Key(
            "client_ca",
            ReadableFile(),
            "PEM file of the authority whose client certificates show the edges of this shield; https only.",
        ),
    ),
    "listen[]",
    check_listener,
    short=True,
)
ADMIN = Section(
    Admin,
    (
        Key("listen", LISTEN_URL, "Where the admin API and the dashboard are; http.", "address"),
        Key(
            "token_env",
            Text("the name of an environment variable", names.parse_environment_name),
            "The environment variable that holds the token. Without one `listen` must be on loopback.",
        ),
    ),
    "admin",
    check_admin,
)
DISK = Section(
    DiskConfig,
    (
        Key(
            "path",
            MakeableFolder(),
            "The folder, for this node alone; made when it does not exist. Nobody else may write to it.",
        ),
        Key(
            "size",
            size("20 GiB", "32 MiB", "4 TiB"),
            "All the room the cache takes there. What is longer than about 3 % of it (240 MiB from 8 GiB on) "
            "is kept in memory alone.",
        ),
        Key(
            "write_delay",
            duration("1s", "10ms", "1m"),
            "How long what was stored may wait to be written together with others.",
        ),
        Key(
            "objects",
            nullable(Count(1024, 1_000_000_000)),
            "How many responses its index has room for, at 40 bytes of memory each, outside of `memory`; `null`: one "
            "for each 16 KiB of `size`.",
        ),
    ),
    "store.disk",
)
STORE = Section(
    StoreConfig,
    (
        Key(
            "memory",
            size("512 MiB", "1 MiB", "1 TiB"),
            "All the memory the cache takes, index and overhead included.",
        ),
        Key(
            "disk",
            DISK,
            "A second tier on disk, which is there again after a restart; left out: memory only.",
        ),
        Key(
            "slice",
            size("1 MiB", "64 KiB", "16 MiB"),
            "The unit in which ranges of what is not stored are fetched and kept, and large objects are stored.",
        ),
        Key(
            "eviction",
            Choice(("lru", "sieve", "s3fifo", "s3fifo-size")),
            "Who goes when the store is full; see [Eviction](eviction.md).",
        ),
        Key(
            "pinned",
            percent("25%", "1%", "90%"),
            "How much of `memory` may be held by bodies on their way to clients while room is wanted. Beyond it what "
            "the slowest read may be evicted, and then they are cut.",
        ),
    ),
    "store",
)
LIMITS = Section(
    Limits,
    (
        Key(
            "head",
            size("32 KiB", "1 KiB", "256 KiB"),
            "The longest head; a longer request is 431 or 414, a longer response 502.",
        ),
        Key("fields", Count(1, 256), "The most header fields in one head; beyond it 431."),
        Key("body", size("1 GiB", "0", "16 TiB"), "The longest request body; beyond it 413."),
        Key(
            "object",
            size("10 GiB", "1 KiB", "16 TiB"),
            "The longest response that is stored; longer ones pass through.",
        ),
        Key("connections", Count(1, 1_000_000), "Client connections at once."),
        Key("connections_per_address", Count(1, 1_000_000), "Client connections at once from one address."),
    ),
    "limits",
)
TIMEOUTS = Section(
    Timeouts,
    (
        Key(
            "head",
            duration("10s", "10ms", "10m"),
            "From a request's first byte to the end of its head, however it drips.",
        ),
        Key(
            "idle", duration("75s", "10ms", "1d"), "How long a client's connection is kept without a request."
        ),
        Key(
            "body_min_rate",
            rate("1 KiB/s", "1 B/s", "1 GiB/s"),
            "The least a client must send of a body, or read of an answer.",
        ),
        Key(
            "drain",
            duration("30s", "0s", "1d"),
            "After SIGTERM: how long requests under way may take to end.",
        ),
    ),
    "timeouts",
)
ACCESS_LOG = Section(
    AccessLog,
    (
        Key("to", LogTarget(), "Where the lines go."),
        Key("format", Choice(("json", "combined")), "JSON, or the combined format that log tools know."),
    ),
    "log.access",
)
LOG = Log(
    _access,
    (Key("access", or_off(ACCESS_LOG), "One line a request, or none."),),
    "log",
    defaults={"access": AccessLog()},
)
CONFIG = Section(
    Config,
    (
        Key("node", NODE, "Who this node is."),
        Key(
            "workers",
            Or("auto", None, Count(1, 64), lambda node: node.text == "auto", closed=True),
            "Worker processes; `auto`: one per core.",
        ),
        Key(
            "busy_poll",
            or_off(moment("20us", "1us", "1ms")),
            "How long a worker that has nothing to do looks for more before it sleeps, while its last pauses were "
            "shorter than that; see [operations](operations.md#busy-polling).",
        ),
        Key(
            "listen",
            ListOf(LISTENER, "[http://127.0.0.1:8080]", "name at least one", None),
            "Where clients connect.",
        ),
        Key("admin", ADMIN, "Where the admin API is; left out: there is none."),
        Key(
            "trusted_proxies",
            ListOf(Text("a network", addresses.parse_network), "[127.0.0.0/8]"),
            "Networks whose `X-Forwarded-For` and `Forwarded` are believed.",
        ),
        Key("store", STORE, "The cache."),
        Key("limits", LIMITS, "How much is accepted."),
        Key("timeouts", TIMEOUTS, "How long clients are waited for."),
        Key("log", LOG, "What is written about requests.", "access_log"),
        Key(
            "origins",
            ORIGINS,
            "Where responses come from, by name.",
        ),
        Key(
            "shields",
            shields(ORIGIN),
            "Shields between this edge and the origins; left out: straight to them.",
        ),
        Key("edges", EDGES, "The edges that this shield believes."),
        Key(
            "bus",
            bus(ORIGIN),
            "How purges reach every other node ([tiers](tiers.md#many-nodes)); left out: this node is alone.",
        ),
        Key(
            "routes",
            ROUTES,
            "Which request goes where; the first match wins. What matches none is 404, an unknown host 421.",
        ),
    ),
    check=check_tiers,
    defaults={"node": Node()},
)


def all_sections(kind: Kind | None = CONFIG) -> Iterator[Section]:
    """`kind` and the sections inside it, in the order of the contract."""
    if isinstance(kind, Section):
        yield kind
        for key in kind.keys:
            yield from all_sections(key.kind)
    elif isinstance(kind, ListOf | MapOf | Or):
        yield from all_sections(kind.kind)


HOMES: dict[str, list[str]] = {}
for _section in all_sections():
    for _key in _section.keys:
        _home = f"in `{_section.title}`" if _section.title else "at the top"
        if _home not in HOMES.setdefault(_key.name, []):
            HOMES[_key.name].append(_home)

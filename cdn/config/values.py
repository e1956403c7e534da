"""The configuration as frozen, typed values: what every other floor reads.

Sizes are bytes, durations are milliseconds, both as int. Nothing here knows YAML; `load` makes these.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


class Tier(StrEnum):
    EDGE = "edge"
    SHIELD = "shield"


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen or connect: `host` is a name or an IP literal without brackets.

    `path` is that of a unix socket: then the host is "localhost", which only names it in a Host field.
    """

    scheme: str  # "http" | "https"; of a broker "nats" | "tls"
    host: str
    port: int
    path: str | None = None

    def __str__(self) -> str:
        if self.path is not None:
            return f"unix:{self.path}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Node:
    name: str = "cdn"
    tier: Tier = Tier.EDGE


@dataclass(frozen=True, slots=True)
class Listener:
    address: Address
    certificate: str | None = None  # path of a PEM chain, absolute; https only
    key: str | None = None
    client_ca: str | None = None  # PEM file: a client with a certificate signed by it is an edge


@dataclass(frozen=True, slots=True)
class Admin:
    address: Address
    token_env: str | None = None


@dataclass(frozen=True, slots=True)
class DiskConfig:
    path: str  # of a folder, absolute
    size: int
    write_delay: int = 1_000  # until what is stored is on its way to the disk
    objects: int | None = None  # that the index has room for; None: one per 16 KiB of size


@dataclass(frozen=True, slots=True)
class StoreConfig:
    memory: int = 256 << 20
    slice: int = 1 << 20  # the unit in which ranges are fetched and kept
    eviction: str = "s3fifo-size"
    pinned: int = 25  # percent of memory that bodies on their way to clients may hold while room is wanted
    disk: DiskConfig | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    head: int = 32 << 10
    fields: int = 128
    body: int = 1 << 30
    object: int = 10 << 30
    connections: int = 20_000
    connections_per_address: int = 1_000


@dataclass(frozen=True, slots=True)
class Timeouts:
    head: int = 10_000
    idle: int = 75_000
    body_min_rate: int = 1 << 10  # bytes per second, of a request body and of a client reading
    drain: int = 30_000  # after SIGTERM: how long exchanges under way may take to end


@dataclass(frozen=True, slots=True)
class AccessLog:
    to: str = "stdout"  # "stdout" | "stderr" | an absolute path
    format: str = "json"  # "json" | "combined"


@dataclass(frozen=True, slots=True)
class Server:
    address: Address
    weight: int = 1
    drain: bool = False  # gets no new request


@dataclass(frozen=True, slots=True)
class OriginTimeouts:
    connect: int = 2_000
    first_byte: int = 15_000
    idle: int = 4_000  # a pooled connection unused for longer is not used again
    between_bytes: int = 15_000  # the longest silence inside a response body
    total: int | None = None  # from the request to the end of its answer, every try included


@dataclass(frozen=True, slots=True)
class OriginTls:
    """How https servers are believed, and how we show ourselves to them. Files are absolute paths."""

    verify: bool = True
    ca: str | None = None  # PEM file of the authorities; None: the system's
    name: str | None = None  # the name asked for and verified; None: the configured host, or the server's
    certificate: str | None = None  # ours, PEM chain
    key: str | None = None
    minimum: str = "1.2"  # "1.2" | "1.3"


@dataclass(frozen=True, slots=True)
class Connections:
    per_server: int | None = None  # exchanges at once with one server; None: no limit
    queue: int = 100  # requests that may wait for a place
    wait: int = 5_000


@dataclass(frozen=True, slots=True)
class Retry:
    tries: int = 3  # servers asked for one request, at most
    budget: int = 20  # further tries, in percent of the requests of the last ten seconds
    minimum: int = 10  # so many more
    within: int = 20_000  # no further try begins later than this


@dataclass(frozen=True, slots=True)
class Eject:
    """What our own requests say of a server."""

    failures: int = 3  # in a row; a connection that can't be made ejects at once
    statuses: tuple[int, ...] = ()  # answers that count as failures
    pause: int = 2_000  # doubled each time it fails again
    longest: int = 30_000
    slow_return: int = 10_000  # its share of the requests grows from a tenth to the whole


@dataclass(frozen=True, slots=True)
class HealthCheck:
    path: str
    every: int = 5_000
    timeout: int = 2_000
    statuses: tuple[int, ...] = ()  # none: every 2xx
    rise: int = 2
    fall: int = 3
    host: str | None = None


@dataclass(frozen=True, slots=True)
class Directory:
    """Files as an origin. `path` is absolute; `index` are the names tried for a folder, the first found wins."""

    path: str
    index: tuple[str, ...] = ("index.html",)
    not_found: str = "404.html"  # the page for what is not there, where the folder has it


@dataclass(frozen=True, slots=True)
class Bucket:
    """An S3-compatible object store as an origin, addressed by path; credentials come from the environment."""

    endpoint: Address
    bucket: str
    region: str = "us-east-1"
    prefix: str = ""
    index: str = "index.html"
    key_id_env: str = "AWS_ACCESS_KEY_ID"
    secret_env: str = "AWS_SECRET_ACCESS_KEY"
    session_env: str = "AWS_SESSION_TOKEN"


@dataclass(frozen=True, slots=True)
class Origin:
    """`servers`, or `directory`, or `s3`."""

    name: str
    servers: tuple[Server, ...] = ()
    host: str | None = None
    balance: str = "round_robin"  # "round_robin" | "least_connections" | "hash"
    timeouts: OriginTimeouts = OriginTimeouts()
    backup: tuple[Server, ...] = ()
    tls: OriginTls = OriginTls()
    connections: Connections = Connections()
    retry: Retry = Retry()
    eject: Eject = Eject()
    health: HealthCheck | None = None
    resolve: int = 30_000  # when a server's name is looked up again at the latest
    directory: Directory | None = None
    s3: Bucket | None = None


# Longer than a shield needs for two servers of an origin that say nothing: a shield that waits is not a dead one.
PATIENCE = OriginTimeouts(first_byte=40_000)


@dataclass(frozen=True, slots=True)
class Shields:
    """The shields of an edge; each key has its home among them."""

    servers: tuple[Server, ...]
    secret_env: str | None = (
        None  # the variable with the secret shared with them; None: our certificate says it
    )
    timeouts: OriginTimeouts = PATIENCE
    tls: OriginTls = OriginTls()
    connections: Connections = Connections()
    retry: Retry = Retry()
    eject: Eject = Eject()
    health: HealthCheck | None = None
    resolve: int = 30_000


@dataclass(frozen=True, slots=True)
class Edges:
    """The edges that a shield believes."""

    secret_env: str | None = None


@dataclass(frozen=True, slots=True)
class Bus:
    """The NATS JetStream over which purges reach every node."""

    servers: tuple[Address, ...]
    stream: str = "cdn"
    token_env: str | None = None
    user_env: str | None = None
    password_env: str | None = None
    credentials: str | None = None  # a .creds file
    tls: OriginTls = OriginTls()
    wait: int = 5_000  # for the first catching up
    replicas: int = 1  # of the stream, when it is made
    keep: int = 604_800_000  # for how long it keeps a purge
    size: int = 256 << 20


@dataclass(frozen=True, slots=True)
class QueryKey:
    """Which query parameters are in the cache key; patterns are names with an optional trailing `*`."""

    ignore: tuple[str, ...] = ()
    only: tuple[str, ...] | None = None
    sort: bool = False


@dataclass(frozen=True, slots=True)
class KeySpec:
    query: QueryKey = QueryKey()
    headers: tuple[str, ...] = ()  # lower case
    cookies: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Bypass:
    """A request that carries one of these is passed and not stored; patterns as in `QueryKey`."""

    cookies: tuple[str, ...] = ()
    headers: tuple[str, ...] = ()  # lower case
    query: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CachePolicy:
    ttl: int | None = None  # only where the response says nothing
    override_ttl: int | None = None  # whatever the response says
    stale_while_revalidate: int = 0  # used where the response says nothing
    # RFC 9111 §4.2.4 lets a cache answer stale while its origin is away, unless the response forbids it.
    stale_if_error: int = 86_400_000
    heuristic: bool = True
    heuristic_errors: bool = False  # guess, or apply `ttl`, for 405, 414, 501 and `public` 5xx too
    # With Set-Cookie. True: where the response names its lifetime; "public": with public or s-maxage; False: never
    store_set_cookie: bool | str = True
    targets: tuple[str, ...] = ("cdn-cache-control",)  # RFC 9213 target list, lower case, most specific first
    bypass: Bypass = Bypass()
    key: KeySpec = KeySpec()
    status_ttl: tuple[tuple[int, int], ...] = ()  # (status, ms)
    slices: bool = True  # fetch ranges in units of `StoreConfig.slice`; False: as the client asks for them
    # which Cache-Control directives of a request count: all | safe (all but max-stale, stale-if-error) | none
    request_directives: str = "safe"


@dataclass(frozen=True, slots=True)
class FieldEdits:
    """`set` replaces every field of that name, then `remove` is already done: remove first, then set."""

    set: tuple[tuple[str, str], ...] = ()
    remove: tuple[str, ...] = ()  # lower case


@dataclass(frozen=True, slots=True)
class HeaderEdits:
    request: FieldEdits = FieldEdits()
    response: FieldEdits = FieldEdits()


@dataclass(frozen=True, slots=True)
class Match:
    """No hosts: every Host. No methods: every method. `path` is a glob where `*` matches any run of bytes."""

    hosts: tuple[str, ...] = ()  # lower case, "www.example.com" or "*.example.org"
    path: str = "/*"
    methods: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Rewrite:
    """What an origin sees instead of a path: first the prefix is stripped, then the other one is added."""

    strip_prefix: str = ""  # whole segments, no slash at its end
    add_prefix: str = ""


@dataclass(frozen=True, slots=True)
class Route:
    index: int
    match: Match
    origin: str
    cache: CachePolicy | None = CachePolicy()  # None: cache off
    headers: HeaderEdits = HeaderEdits()
    compress: tuple[str, ...] = ()  # content codings, the preferred first: br, gzip, zstd
    shield: bool = True  # go through the shields, where there are any
    rewrite: Rewrite = Rewrite()


@dataclass(frozen=True, slots=True)
class Config:
    node: Node
    listen: tuple[Listener, ...]
    origins: dict[str, Origin]
    routes: tuple[Route, ...]
    shields: Shields | None = None
    edges: Edges | None = None
    bus: Bus | None = None
    workers: int | None = None  # None: auto, one per core
    busy_poll: int | None = None  # µs that a worker looks for events before it sleeps; None: none
    admin: Admin | None = None
    trusted_proxies: tuple[str, ...] = ()  # networks in CIDR form
    store: StoreConfig = StoreConfig()
    limits: Limits = Limits()
    timeouts: Timeouts = Timeouts()
    access_log: AccessLog | None = AccessLog()
    source: str = field(default="", compare=False)  # the file it came from

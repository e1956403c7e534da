"""The keys of the bus, over which purges reach every node."""

from __future__ import annotations

from cdn.config import addresses, names
from cdn.config.document import Mapping
from cdn.config.files import ReadableFile
from cdn.config.kinds import Count, Reader, Text, duration, nullable, size
from cdn.config.schema_shields import VARIABLE
from cdn.config.sections import Key, ListOf, Section, lines_of
from cdn.config.values import Bus

BROKER = Text("a URL such as `nats://127.0.0.1:4222`", addresses.parse_broker)


def bus(origin: Section) -> Section:
    """`origin` is the section of a pool of servers: its TLS is a broker's, too."""
    tls = next(key for key in origin.keys if key.name == "tls")
    return Section(
        Bus,
        (
            Key(
                "servers",
                ListOf(BROKER, "[nats://127.0.0.1:4222]", "name at least one", lambda server: server),
                "The NATS servers (2.10 or later, with JetStream); the first that can be reached is used.",
            ),
            Key(
                "stream",
                Text("a name", names.parse_stream_name),
                "The stream; it is made where it does not exist. All nodes that name it share their purges.",
            ),
            Key("token_env", nullable(VARIABLE), "The environment variable that holds the broker's token."),
            Key("user_env", nullable(VARIABLE), "The environment variable that holds our user's name."),
            Key("password_env", nullable(VARIABLE), "The environment variable that holds its password."),
            Key("credentials", nullable(ReadableFile()), "A `.creds` file, in place of token or password."),
            Key("tls", tls.kind, "How the broker is believed, where its URL is `tls://`."),
            Key(
                "wait",
                duration("5s", "100ms", "25s"),
                "How long a start waits to have what was purged meanwhile; then everything stored is validated "
                "before it is used.",
            ),
            Key("replicas", Count(1, 5), "Copies of the stream in a cluster of brokers, when it is made."),
            Key(
                "keep",
                duration("7d", "1m", "365d"),
                "How long the stream keeps a purge, when it is made: a node that was away longer validates everything.",
            ),
            Key("size", size("256 MiB", "1 MiB", "1 TiB"), "How large the stream may get, when it is made."),
        ),
        "bus",
        _check,
    )


def _check(node: Mapping, values: dict[str, object], path: str, reader: Reader) -> None:
    """One way to show who we are."""
    lines = lines_of(node)
    for one, other in (("user_env", "password_env"), ("password_env", "user_env")):
        if one in lines and other not in lines:
            reader.wrong(lines[one], path, f"has `{one}` without `{other}`")
    ways = [way for way in ("token_env", "user_env", "credentials") if values.get(way) is not None]
    if len(ways) > 1:
        reader.wrong(lines[ways[1]], f"{path}.{ways[1]}", f"stands beside `{ways[0]}`; give one of them")

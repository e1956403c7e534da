"""One connection to a NATS server, and the stream and the messages of the nodes on it.

Decides what is asked of the broker, and turns whatever goes wrong into one sentence. A connection that fails is closed
and never mended: the bus makes the next one, by the same steps as the first. What a message says is not known here.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import os
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from cdn.config.values import Address
from cdn.config.values import Bus as BusConfig
from cdn.proxy.purge_log import TAG_BITS
from cdn.tier import tls

if TYPE_CHECKING:
    from nats.aio.client import Client
    from nats.aio.msg import Msg
    from nats.aio.subscription import Subscription

CONNECT = 2  # seconds to a connection
ANSWER = 2.0  # seconds for an answer of the broker
HEARTBEAT = 1.0  # seconds between two messages at most
SILENCE = 3.5  # seconds without any: the connection, or the broker's part of it, is dead
INACTIVE = 30.0  # seconds for which the broker remembers a node that has left
BATCH = 256  # messages taken at once


class BrokerError(Exception):
    """What was asked of the broker cannot be had; one sentence."""


class TooLongError(BrokerError):
    """The broker does not take messages of this length."""


@dataclass(frozen=True, slots=True)
class StreamState:
    """`tag` tells this stream from one of the same name that was made anew; the purges from `first` to `last` are there
    (first = last + 1: none)."""

    tag: int
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Delivery:
    """`waiting`: how many later ones the broker has."""

    sequence: int
    data: bytes
    waiting: int


def problems(config: BusConfig) -> Iterator[str]:
    """Why no broker can be spoken to by this configuration, in sentences that say the way out."""
    if importlib.util.find_spec("nats") is None:
        yield "bus: the package nats-py is missing: pip install 'cdn[bus]'"
    elif config.credentials is not None and importlib.util.find_spec("nkeys") is None:
        yield "bus: credentials need the package nkeys: pip install 'cdn[bus]'"
    for name in (config.token_env, config.user_env, config.password_env):
        if name is not None and not os.environ.get(name):
            yield f"bus: the environment variable {name} is not set; set it, or leave the key out"
    try:
        _context(config)
    except OSError as error:
        yield f"bus: the TLS files cannot be used: {error}"


def _context(config: BusConfig) -> ssl.SSLContext | None:
    if all(server.scheme != "tls" for server in config.servers):
        return None
    return tls.context(config.tls)


class Broker:
    """One connection. Every method raises BrokerError."""

    def __init__(self, config: BusConfig, client: Client) -> None:
        self._config = config
        self._client = client
        self._stream = client.jetstream(timeout=ANSWER)
        self._subject = f"{config.stream}.purge"
        self._inbox: Subscription | None = None

    @staticmethod
    async def connect(config: BusConfig, server: Address, name: str) -> Broker:
        from nats.aio.client import Client
        from nats.errors import NoServersError

        client = Client()
        faults: list[Exception] = []

        async def note(error: Exception) -> None:
            faults.append(error)

        options: dict[str, Any] = {}
        if config.token_env is not None:
            options["token"] = os.environ.get(config.token_env, "")
        if config.user_env is not None and config.password_env is not None:
            options["user"] = os.environ.get(config.user_env, "")
            options["password"] = os.environ.get(config.password_env, "")
        if config.credentials is not None:
            options["user_credentials"] = config.credentials
        with _explained(str(server)):
            if server.scheme == "tls":
                options["tls"] = _context(config)
                options["tls_hostname"] = config.tls.name or server.host
            host = f"[{server.host}]" if ":" in server.host else server.host
            try:
                async with asyncio.timeout(3 * CONNECT):
                    await client.connect(
                        f"{server.scheme}://{host}:{server.port}",
                        name=f"cdn {name}",
                        allow_reconnect=False,
                        connect_timeout=CONNECT,
                        # the client tries a server that it cannot reach again, once and at once, whatever it is told
                        max_reconnect_attempts=1,
                        reconnect_time_wait=0,
                        ping_interval=2,
                        max_outstanding_pings=2,
                        error_cb=note,
                        **options,
                    )
            except NoServersError:
                raise (faults[-1] if faults else BrokerError("it cannot be reached")) from None
        return Broker(config, client)

    async def stream(self) -> StreamState:
        """The stream as it is now; it is made when there is none."""
        from nats.js.api import RetentionPolicy, StorageType, StreamConfig
        from nats.js.errors import NotFoundError

        config = self._config
        with _explained("the stream"):
            try:
                info = await self._stream.stream_info(config.stream)
            except NotFoundError:
                info = await self._stream.add_stream(
                    StreamConfig(
                        name=config.stream,
                        subjects=[self._subject],
                        retention=RetentionPolicy.LIMITS,
                        storage=StorageType.FILE,
                        max_age=config.keep / 1000,
                        max_bytes=config.size,
                        num_replicas=config.replicas,
                    )
                )
        made = f"{config.stream} {info.created}"
        tag = int.from_bytes(blake2b(made.encode(), digest_size=8).digest(), "little") % ((1 << TAG_BITS) - 1)
        return StreamState(tag + 1, info.state.first_seq or info.state.last_seq + 1, info.state.last_seq)

    async def follow(self, sequence: int) -> None:
        """Have what is in the stream from `sequence` on, and what comes, delivered to `batch`."""
        from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy

        with _explained("the stream"):
            inbox = self._client.new_inbox()
            self._inbox = await self._client.subscribe(inbox)
            await self._stream.add_consumer(
                self._config.stream,
                ConsumerConfig(
                    deliver_policy=DeliverPolicy.BY_START_SEQUENCE,
                    opt_start_seq=sequence,
                    ack_policy=AckPolicy.NONE,
                    deliver_subject=inbox,
                    filter_subject=self._subject,
                    idle_heartbeat=HEARTBEAT,
                    inactive_threshold=INACTIVE,
                    num_replicas=1,
                    mem_storage=True,
                ),
            )

    async def batch(self, known: int) -> list[Delivery]:
        """What has arrived, in order; waits for the first. Empty for a sign of life alone, which says that nothing
        behind `known` is on its way."""
        assert self._inbox is not None
        out: list[Delivery] = []
        with _explained("the stream"):
            while not out or (self._inbox.pending_msgs and len(out) < BATCH):
                message = await self._inbox.next_msg(timeout=SILENCE)
                if message.headers is not None and "Status" in message.headers:
                    delivered = message.headers.get("Nats-Last-Stream", "0")
                    if delivered.isdigit() and int(delivered) > max([known, *(d.sequence for d in out)]):
                        raise BrokerError("messages were lost on the way")
                    return out
                out.append(_delivery(message))
        return out

    async def publish(self, data: bytes) -> int:
        """The sequence of the message, which is in the stream then."""
        if len(data) > self._client.max_payload:
            raise TooLongError(f"the broker takes messages of {self._client.max_payload} bytes at most")
        with _explained("the stream"):
            return (await self._stream.publish(self._subject, data, timeout=ANSWER)).seq

    async def listen(self, hear: Callable[[bytes], None]) -> None:
        """Hear what nodes `tell`; it is kept nowhere."""

        async def heard(message: Msg) -> None:
            hear(message.data)

        with _explained("the nodes"):
            await self._client.subscribe(f"{self._config.stream}.nodes", cb=heard)

    async def tell(self, data: bytes) -> None:
        with _explained("the nodes"):
            await self._client.publish(f"{self._config.stream}.nodes", data)

    async def close(self) -> None:
        with contextlib.suppress(BrokerError), _explained("the connection"):
            await asyncio.wait_for(self._client.close(), ANSWER)


def _delivery(message: Msg) -> Delivery:
    about = message.metadata
    return Delivery(about.sequence.stream, message.data, about.num_pending)


@contextlib.contextmanager
def _explained(what: str) -> Iterator[None]:
    """A connection has many ways to fail; each becomes a BrokerError."""
    import nats.errors

    try:
        yield
    except nats.errors.NoRespondersError as error:
        raise BrokerError(f"{what}: the broker has no JetStream") from error
    except (TimeoutError, nats.errors.TimeoutError) as error:
        raise BrokerError(f"{what}: no answer in time") from error
    except OSError as error:
        raise BrokerError(f"{what}: {error.strerror or error}") from error
    except (nats.errors.Error, ValueError) as error:
        raise BrokerError(f"{what}: {error}") from error

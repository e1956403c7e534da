"""A bucket behind the origins' seam: signed requests through a pool, and what the store's answers mean.

Decides which of the store's errors are a client's (no such object) and which are ours (credentials, region).
Must not know how an object's key or a signature is made, nor clients.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Mapping

from cdn.config.values import Bucket
from cdn.rules.message import Fields
from cdn.tier.call import Call
from cdn.tier.made import MadeResponse
from cdn.tier.own import OwnServer
from cdn.tier.s3.objects import (
    ABOUT_THE_OBJECT,
    SENTENCES,
    asked_fields,
    conditional_range,
    object_key,
    shown,
)
from cdn.tier.s3.signing import Credentials, canonical_path, sign
from cdn.tier.seam import Kind, OriginError, OriginRequest, OriginResponse
from cdn.tier.upstream import Upstream

EXPLAINED = 16 << 10  # bytes of the store's own explanation that are looked at
_CODE = re.compile(rb"<Code>([A-Za-z0-9]{1,64})</Code>")
DENIED = ("", "AccessDenied")


class CredentialsError(ValueError):
    """The environment lacks what a bucket needs; one sentence with the way out."""


def credentials(origin: str, bucket: Bucket, environment: Mapping[str, str] = os.environ) -> Credentials:
    """What the environment holds for this bucket. Raises CredentialsError."""
    found = {}
    for name in (bucket.key_id_env, bucket.secret_env):
        value = environment.get(name, "")
        if not value or not value.isascii() or not value.isprintable() or " " in value:
            what = "holds what no key can be" if value else "is not set"
            raise CredentialsError(
                f"origin {origin}: the environment variable {name} {what}; "
                f"the bucket {bucket.bucket} is read with the keys in it"
            )
        found[name] = value
    session = environment.get(bucket.session_env) or None
    return Credentials(found[bucket.key_id_env], found[bucket.secret_env], session)


class BucketOrigin:
    """`s3` of an origin. `now` gives seconds of wall time: a signature is good for a few minutes only."""

    def __init__(
        self, upstream: Upstream, bucket: Bucket, believed: Credentials, now: Callable[[], float] = time.time
    ):
        self.upstream = upstream
        self._bucket = bucket
        self._credentials = believed
        self._now = now
        address = bucket.endpoint
        host = f"[{address.host}]" if ":" in address.host else address.host
        usual = 443 if address.scheme == "https" else 80
        self._host = host if address.port == usual else f"{host}:{address.port}"

    async def fetch(self, request: OriginRequest, key: int = 0) -> OriginResponse:
        """Ask for the object that the request names. Raises OriginError."""
        server = f"s3:{self._bucket.bucket}"
        if request.method not in ("GET", "HEAD"):
            allowed = [("Allow", "GET, HEAD")]
            return MadeResponse(405, "Only GET and HEAD of objects.", lines=allowed, server=server)
        name = object_key(request.target.partition("?")[0], self._bucket)
        if name is None:
            return MadeResponse(404, SENTENCES[404], method=request.method, server=server)
        response = await self._ask(request, name, asked_fields(request), key)
        if response.head.status == 412 and conditional_range(request):
            response.abort()
            response = await self._ask(request, name, asked_fields(request, whole=True), key)
        if response.head.status in (200, 206, 304):
            response.head = shown(response.head)
            return response
        return await self._explained(request, response)

    async def _ask(self, request: OriginRequest, name: bytes, fields: Fields, key: int) -> OriginResponse:
        path = canonical_path(self._bucket.bucket.encode() + b"/" + name)

        async def one(server: OwnServer) -> OriginResponse:
            # signed for each try: a signature that waited in a queue may be too old
            added = sign(
                self._credentials,
                request.method,
                path,
                [("Host", self._host)],
                region=self._bucket.region,
                now=self._now(),
            )
            asked = OriginRequest(request.method, path, self._host, fields.plus(added))
            return await server.fetch(Call(asked, self._host))

        return await self.upstream.ask(request.method, False, key, one)

    async def _explained(self, request: OriginRequest, response: OriginResponse) -> OriginResponse:
        """The store's own words name the bucket and its parts: they end here."""
        status, text = response.head.status, b""
        while len(text) < EXPLAINED and (piece := await response.read()):
            text += piece
        response.abort()
        found = _CODE.search(text[:EXPLAINED])
        code = found[1].decode() if found else ""
        ours = status in ABOUT_THE_OBJECT and (status != 403 or code in DENIED)
        if not ours and status < 500:
            said = f"{status} {code}".strip()
            detail = (
                f"the object store refused the request ({said}); are endpoint, region and credentials right?"
            )
            raise OriginError(Kind.REFUSED, detail, server=response.server, sent=True, received=True)
        sentence = SENTENCES.get(status, "The object store cannot answer now.")
        kept = ("content-range", "retry-after", "date")
        return MadeResponse(
            status,
            sentence,
            method=request.method,
            lines=[line for line in response.head.fields if line[0].lower() in kept],
            server=response.server,
            first_byte_ms=response.first_byte_ms,
        )

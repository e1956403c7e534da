"""AWS Signature Version 4 for requests without a body: which fields make an object store believe us.

Source: "Authenticating Requests: Using the Authorization Header (AWS Signature Version 4)", Amazon S3 API
Reference. Decides nothing but the signature; must not read a clock or the environment.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from urllib.parse import quote_from_bytes

EMPTY_BODY = hashlib.sha256(b"").hexdigest()
ALGORITHM = "AWS4-HMAC-SHA256"


@dataclass(frozen=True, slots=True)
class Credentials:
    """`session` is the token of temporary credentials. Neither it nor the secret is ever shown."""

    key_id: str
    secret: str
    session: str | None = None

    def __repr__(self) -> str:
        return f"Credentials({self.key_id!r}, …)"


def canonical_path(key: bytes) -> str:
    """The path of an object, every byte encoded but the unreserved ones and `/`: it is sent as it is signed."""
    return "/" + quote_from_bytes(key, safe="/-_.~")


@lru_cache(maxsize=8)
def _signing_key(secret: str, day: str, region: str, service: str) -> bytes:
    """Valid for a day; derived once."""
    step = f"AWS4{secret}".encode()
    for part in (day, region, service, "aws4_request"):
        step = hmac.digest(step, part.encode(), "sha256")
    return step


def sign(
    credentials: Credentials,
    method: str,
    path: str,
    fields: Iterable[tuple[str, str]],
    *,
    region: str,
    now: float,
    service: str = "s3",
) -> list[tuple[str, str]]:
    """The fields to add to a request for `path` (as `canonical_path` gives it, no query), whose `fields` hold
    Host and whatever else is to be signed. `now` is seconds of wall time.
    """
    stamp = datetime.fromtimestamp(now, UTC).strftime("%Y%m%dT%H%M%SZ")
    day = stamp[:8]
    added = [("x-amz-content-sha256", EMPTY_BODY), ("x-amz-date", stamp)]
    if credentials.session is not None:
        added.append(("x-amz-security-token", credentials.session))
    lines = sorted((name.lower(), " ".join(value.split())) for name, value in (*fields, *added))
    names = ";".join(name for name, _ in lines)
    canonical = "\n".join(
        (method, path, "", *(f"{name}:{value}" for name, value in lines), "", names, EMPTY_BODY)
    )
    scope = f"{day}/{region}/{service}/aws4_request"
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    to_sign = f"{ALGORITHM}\n{stamp}\n{scope}\n{digest}"
    key = _signing_key(credentials.secret, day, region, service)
    signature = hmac.new(key, to_sign.encode(), "sha256").hexdigest()
    authorization = (
        f"{ALGORITHM} Credential={credentials.key_id}/{scope}, SignedHeaders={names}, Signature={signature}"
    )
    return [*added, ("Authorization", authorization)]

"""Why a node cannot start, in sentences that say the way out: an address that cannot be had, an admin token."""

from __future__ import annotations

import errno
import ipaddress
import os
from collections.abc import Iterator

from cdn.config.values import Address, Admin


def explain_bind_error(address: Address, error: OSError) -> str:
    """One sentence with the way out for an address that could not be bound."""
    if error.errno == errno.EADDRINUSE:
        return f"{address}: the port is in use by another process; stop it or listen on another port"
    if error.errno in (errno.EACCES, errno.EPERM):
        return (
            f"{address}: this user may not listen on port {address.port}; use a port from 1024 up, "
            "or give the process CAP_NET_BIND_SERVICE"
        )
    if error.errno == errno.EADDRNOTAVAIL:
        return f"{address}: this machine has no such address; use one of its own, 127.0.0.1 or 0.0.0.0"
    return f"{address}: cannot listen there: {error.strerror or error}"


def is_loopback(host: str) -> bool:
    """True for localhost and loopback literals; a name that resolves elsewhere is not trusted to stay at
    home.
    """
    if host.lower().rstrip(".") == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def admin_token(admin: Admin) -> str | None:
    """The token from the environment; None when the configuration wants none or the variable is unset or
    empty.
    """
    return os.environ.get(admin.token_env) or None if admin.token_env else None


def admin_problems(admin: Admin) -> Iterator[str]:
    token = admin_token(admin)
    if admin.token_env and token is None:
        yield f"admin: the environment variable {admin.token_env} is not set; set it, or leave token_env out"
    elif token is not None and not (token.isascii() and token.isprintable() and " " not in token):
        yield f"admin: the token in {admin.token_env} has to be printable ASCII without spaces"
    if token is None and not is_loopback(admin.address.host):
        yield (
            f"admin: {admin.address} is reachable from other machines and needs a token; "
            "name its variable with token_env, or listen on 127.0.0.1"
        )

"""What is allowed but worth a second look: said by `cdn check`, never an error."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from importlib.util import find_spec

from cdn.config.problems import quote
from cdn.config.values import Config, Match, Route


def warnings(config: Config) -> list[str]:
    """One sentence each: routes for every Host or for none, origins that nothing uses, trust in everybody, codings
    that come to nothing.
    """
    said = list(_hostless([route for route in config.routes if not route.match.hosts]))
    for index, route in enumerate(config.routes):
        for earlier in config.routes[:index]:
            if _covers(earlier.match, route.match):
                said.append(f"{_name(route)} is never reached: {_name(earlier)} takes all its requests")
                break
        said += _codings(route)
        said += _rewrite(route)
    used = {route.origin for route in config.routes}
    said += [f"origins.{name} is used by no route" for name in config.origins if name not in used]
    for name, origin in config.origins.items():
        if not origin.tls.verify:
            said.append(f"origins.{name}.tls verifies no certificate: anybody on the way can answer for it")
        if origin.servers and all(server.drain for server in (*origin.servers, *origin.backup)):
            said.append(f"origins.{name} has no server to ask: all of them drain")
    said += [
        f"trusted_proxies holds {network}: every client can claim any address"
        for network in config.trusted_proxies
        if ipaddress.ip_network(network).prefixlen == 0
    ]
    return said


def _hostless(routes: list[Route]) -> Iterator[str]:
    if routes:
        others = f" and {len(routes) - 1} more name" if len(routes) > 1 else " names"
        yield f"{_name(routes[0])}{others} no host: every Host is known, none is answered 421"


def _codings(route: Route) -> Iterator[str]:
    if route.compress and route.cache is None:
        yield f"{_name(route)} has `compress`, and its cache is off: only what is stored is compressed"
    elif "zstd" in route.compress and find_spec("zstandard") is None:
        yield f"{_name(route)} lists zstd, which needs another package: pip install 'cdn[zstd]'"


def _rewrite(route: Route) -> Iterator[str]:
    prefix = route.rewrite.strip_prefix
    literal, star, _ = route.match.path.partition("*")
    begins = f"{literal}/".startswith(f"{prefix}/") or (star and prefix.startswith(literal))
    if prefix and not begins:
        yield f"{_name(route)} strips {quote(prefix)}, which none of its paths begins with"


def _name(route: Route) -> str:
    hosts = f"{', '.join(route.match.hosts)} " if route.match.hosts else ""
    return f"routes[{route.index}] ({quote(hosts + route.match.path)})"


def _covers(one: Match, other: Match) -> bool:
    """Whether each request that `other` matches is matched by `one`."""
    if one.methods and not (other.methods and set(other.methods) <= set(one.methods)):
        return False
    if one.hosts and not (
        other.hosts and all(any(_host_covers(a, b) for a in one.hosts) for b in other.hosts)
    ):
        return False
    # A `*` of `other` can only be taken by a `*` of `one`, since no `*` is left in its literal parts.
    glob = ".*".join(map(re.escape, one.path.split("*")))
    return re.fullmatch(glob, other.path, re.DOTALL) is not None


def _host_covers(one: str, other: str) -> bool:
    return one == other or (one.startswith("*.") and other.endswith(one[1:]))

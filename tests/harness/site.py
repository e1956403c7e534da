"""Configurations of the tests as dictionaries, in the user's own vocabulary; the proxy gets them as YAML
text.

`site(origin)` is the smallest useful one: one origin, one route for `site.test`, the cache on, nothing
overridden.
"""

from __future__ import annotations

from typing import Any

import yaml

from .client import HOST
from .origin import Origin
from .tls import TLS_NAME, certificate

Tree = dict[str, Any]
MEMORY = "16 MiB"  # the store is allocated whole at start: small, so that a test starts at once


def site(
    origin: Origin | int,
    cache: Any = None,
    *,
    origin_timeouts: Tree | None = None,
    origin_host: str | None = None,
    route: Tree | None = None,
    routes: list[Tree] | None = None,
    **top: Any,
) -> Tree:
    """A whole configuration. `cache` and `route` extend the one route, `routes` replaces it, `top` any
    section."""
    url = f"http://127.0.0.1:{origin}" if isinstance(origin, int) else origin.url
    app: Tree = {"servers": [url]}
    if isinstance(origin, Origin) and origin.tls is not None:
        app["tls"] = {"ca": str(certificate(TLS_NAME)[0]), "name": TLS_NAME}
    if origin_timeouts:
        app["timeouts"] = origin_timeouts
    if origin_host:
        app["host"] = origin_host
    if routes is None:
        only: Tree = {"match": {"host": [HOST], "path": "/*"}, "origin": "app"}
        if cache is not None:
            only["cache"] = cache
        only.update(route or {})
        routes = [only]
    tree: Tree = {
        "node": {"name": "edge-1"},
        "workers": 1,
        "listen": ["http://127.0.0.1:0"],
        "store": {"memory": MEMORY},
        "origins": {"app": app},
        "routes": routes,
    }
    tree.update(top)
    return tree


def yaml_text(tree: Tree) -> str:
    return yaml.safe_dump(tree, sort_keys=False)

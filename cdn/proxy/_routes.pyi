from collections.abc import Iterable

from cdn._core import QueryFilter
from cdn.config.values import Route

class RouteTable:
    """The routes of one configuration, compiled."""

    routes: tuple[Route, ...]
    def __init__(self, routes: Iterable[Route]) -> None: ...
    def find(self, host: str, path: str, method: str) -> int:
        """The index of the route, -1 (no route knows the host: 421) or -2 (no route matches: 404)."""
    def passed_by_rule(self, index: int, head: bytes, query: bytes | None) -> bool:
        """Whether a rule of the route passes a request with this head; raises ValueError where that is none."""
    def query_filter(self, index: int) -> QueryFilter: ...

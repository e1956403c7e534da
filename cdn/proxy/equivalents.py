"""Stored responses that answer more queries than their own: an index beside the store, from No-Vary-Search.

For each path it knows what the latest response with the field said, and for each set of significant parameters the key
of a response that has them. Decides only where to look: whether what lies there really answers the request is asked of
the rules again, and what is not usable as it stands is no match, so that nothing fetched for one URL is stored under
another. One per worker; what it forgets is fetched once more.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b

from cachetools import LRUCache

from cdn._core import cache_key
from cdn.rules.message import Fields, RequestHead
from cdn.rules.no_vary_search import Pairs, Variance, significant, variance

PATHS = 4_096
SETS = 16_384  # of significant parameters, of all paths
EACH = 16  # keys of one set: by what else is in the key (fields, cookies, the content of a QUERY)
LONGEST = 2_048  # bytes of a key that is kept


@dataclass(frozen=True, slots=True)
class Equivalent:
    """The key of a stored response, and the query it was fetched for."""

    primary: bytes
    query: str | None


class Equivalents:
    def __init__(self, paths: int = PATHS, sets: int = SETS, each: int = EACH) -> None:
        self._said: LRUCache[bytes, Variance] = LRUCache(paths)
        self._sets: LRUCache[bytes, dict[bytes, Equivalent]] = LRUCache(sets)
        self._each = each
        self.learnt = False  # whether there ever was anything to find

    def learn(self, request: RequestHead, query: str | None, primary: bytes, fields: Fields) -> None:
        """A response with these fields is being stored for `query`, as keyed, under `primary`."""
        said = variance(fields)
        if said is None or len(primary) > LONGEST:
            return
        path = _key(request, None)
        self.learnt = True
        self._said[path] = said
        extras = primary.removeprefix(_key(request, query))
        found = self._sets.setdefault(_digest(path, said, significant(query, said)), {})
        found.pop(extras, None)
        found[extras] = Equivalent(primary, query)
        if len(found) > self._each:
            del found[next(iter(found))]

    def find(self, request: RequestHead, query: str | None, primary: bytes) -> Equivalent | None:
        """Where a response that may answer `query` as well lies, other than under `primary`."""
        if not self._said:
            return None
        found = self._set(request, query).get(primary.removeprefix(_key(request, query)))
        return None if found is None or found.primary == primary else found

    def keys(self, request: RequestHead, query: str | None) -> list[bytes]:
        """All keys that a request for this URL might be answered from: what a purge of it has to reach."""
        return [found.primary for found in self._set(request, query).values()]

    def _set(self, request: RequestHead, query: str | None) -> dict[bytes, Equivalent]:
        path = _key(request, None)
        said = self._said.get(path)
        return {} if said is None else self._sets.get(_digest(path, said, significant(query, said)), {})


def _key(request: RequestHead, query: str | None) -> bytes:
    return cache_key(
        request.scheme == "https",
        request.authority.encode("latin-1"),
        request.path.encode("latin-1"),
        None if query is None else query.encode("latin-1"),
    )


def _digest(path: bytes, said: Variance, pairs: Pairs) -> bytes:
    said_by = repr((said.any_order, said.all_but, sorted(said.names)))
    return blake2b(path + repr((said_by, pairs)).encode("utf-8", "surrogatepass"), digest_size=16).digest()

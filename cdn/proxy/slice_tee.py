"""A whole response that is too long to be stored in one piece, kept in slices while it passes to its client.

Decides which such responses are kept, and cuts them. The request was a plain one and stays one; what breaks off leaves
the slices before it, each of them proven whole by its position in a body of known length. It must not know a client.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cdn.config.values import Route
from cdn.proxy import stored_slices as store
from cdn.proxy.drafts import draft
from cdn.proxy.stored_parts import base_of
from cdn.proxy.stored_slices import Sliced
from cdn.rules.outcome import NoStoreReason
from cdn.rules.slices import number_of, span_of, validator
from cdn.rules.stored import Stored
from cdn.store import Fill
from cdn.tier import OriginResponse

if TYPE_CHECKING:
    from cdn.proxy.site import Site
    from cdn.proxy.verdicts import Asked

SHARE = 2  # kept is what takes at most this part of the store: one response must not drive out all others


def kept_in_slices(
    site: Site, route: Route, asked: Asked, since: Fill, made: Stored, response: OriginResponse
) -> OriginResponse | None:
    """`response`, whose body is stored in slices as it is read; None where that is not to be. `made` is what would be
    stored of it in one piece, `since` as old as its request.
    """
    length, policy = response.length, route.cache
    if policy is None or not policy.slices or length is None or made.status != 200:
        return None
    if length > min(site.config.limits.object, site.memory.size // SHARE) or asked.content is not None:
        return None
    proof = validator(made)
    dated = proof is not None and not proof.startswith('"')
    if proof is None or (dated and (bool(route.compress) or "date" not in response.head.fields)):
        return None
    if response.head.fields.get("accept-ranges") == "none":
        site.hindsight.unsliceable(asked.primary, without_ranges=True)
        return None
    base = base_of(site, asked.request, asked.primary, made, asked.specs)
    shown = draft(made, route.headers.response, old_origin=response.head.version < (1, 1))
    sliced = Sliced(base, shown, made.with_body(length), length, site.slice, proof, None)
    return _Tee(site, route, asked, site.departure(asked.primary, since), sliced, response)


class _Tee(OriginResponse):
    def __init__(
        self, site: Site, route: Route, asked: Asked, since: Fill, sliced: Sliced, response: OriginResponse
    ) -> None:
        self.head = response.head
        self.length = response.length
        self.delimited_by_close = response.delimited_by_close
        self.server = response.server
        self.connect_ms = response.connect_ms
        self.first_byte_ms = response.first_byte_ms
        self._site = site
        self._route = route
        self._asked = asked
        self._since = since
        self._sliced = sliced
        self._response = response
        self._at = 0
        self._fill: Fill | None = None

    @property
    def complete(self) -> bool:
        return self._response.complete

    async def read(self) -> bytes:
        data = await self._response.read()
        view = memoryview(data)
        while view:
            view = view[self._keep(view) :]
        if not data:
            self._end()
        return data

    def _keep(self, view: memoryview) -> int:
        """Store the beginning of `view`, at most to the end of its slice; returns how many bytes that were."""
        sliced = self._sliced
        number = number_of(self._at, sliced.size)
        first, last = span_of(number, sliced.size, sliced.length)
        if self._at == first:
            self._begin(number)
        n = min(len(view), last + 1 - self._at)
        self._at += n
        fill = self._fill
        if fill is not None and not fill.write(view[:n]):
            fill.abort(NoStoreReason.NO_SPACE.value)
            fill = self._fill = None
        if self._at == last + 1 and fill is not None:
            self._fill = None
            self._commit(fill)
        return n

    def _begin(self, number: int) -> None:
        sliced = self._sliced
        key = store.slice_key(sliced.base, number)
        fill, won = self._site.memory.begin_fill(key, since=self._since)
        if not won:
            return  # somebody fetches this very slice
        first, last = span_of(number, sliced.size, sliced.length)
        if fill.start(store.announced(sliced, paced=True), last - first + 1):
            self._fill = fill
        else:
            fill.abort(NoStoreReason.NO_SPACE.value)

    def _commit(self, fill: Fill) -> None:
        asked = self._asked
        held = store.admit(self._site, self._route, asked.request, asked.primary, self._sliced, fill)
        if held is None:
            fill.abort(NoStoreReason.PURGED.value)
        else:
            fill.commit(**store.settled(held))

    def _end(self) -> None:
        fill, self._fill = self._fill, None
        if fill is not None:
            fill.abort(NoStoreReason.TRUNCATED.value)
        self._since.abort("ended")

    def abort(self) -> None:
        self._end()
        self._response.abort()

"""Random responses and requests: the rules decide as the naive reading in `oracle` does."""

from __future__ import annotations

import re

from hypothesis import given, settings
from hypothesis import strategies as st

from cdn.rules.storing import DontStore, Store, decide_store
from cdn.rules.use import Decision, decide_use
from tests.rules import oracle
from tests.rules.make import NOW, POLICY, date, request, response

_NUMBERS = st.sampled_from(["0", "1", "9", "10", "60", "007", "100", "86400", "-1", "x", "1.5"])


def _list(*members: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.lists(st.one_of(*members), max_size=4).map(", ".join)


def _directive(name: str) -> st.SearchStrategy[str]:
    return st.tuples(st.sampled_from([name, name.title()]), _NUMBERS, st.booleans()).map(
        lambda t: f'{t[0]}="{t[1]}"' if t[2] else f"{t[0]}={t[1]}"
    )


_RESPONSE_CONTROL = _list(
    st.sampled_from(
        [
            "public",
            "private",
            "no-store",
            "no-cache",
            "must-revalidate",
            "proxy-revalidate",
            "immutable",
            "foo",
            'no-cache="x"',
            'private="x-user"',
            'foo="bar"',
            "no-transform",
        ]
    ),
    _directive("max-age"),
    _directive("max-age"),
    _directive("s-maxage"),
    _directive("stale-while-revalidate"),
    _directive("stale-if-error"),
)
_REQUEST_CONTROL = _list(
    st.sampled_from(["no-cache", "no-store", "only-if-cached", "foo"]),
    _directive("max-age"),
    _directive("min-fresh"),
)
_DATES = st.sampled_from(["@0", "@-1", "@-9", "@-100", "@60", "@-5000", "@-9000000", "nonsense", "0"])


def _line(name: str, values: st.SearchStrategy[str]) -> st.SearchStrategy[list[str]]:
    return st.one_of(st.just([]), values.map(lambda value: [f"{name}: {value}"]))


_RESPONSES = st.tuples(
    st.one_of(_RESPONSE_CONTROL.map(lambda value: [f"Cache-Control: {value}"]), st.just([])),
    _line("Date", _DATES),
    _line("Age", st.sampled_from(["0", "1", "30", "7200", "x", "-5", "1.5"])),
    _line("Expires", _DATES),
    _line("Last-Modified", _DATES),
    _line("ETag", st.sampled_from(['"a"', 'W/"a"'])),
    _line("Vary", st.sampled_from(["Accept", "*", "Accept, *"])),
    _line("Set-Cookie", st.just("a=b")),
).map(lambda parts: [line for part in parts for line in part])
_REQUESTS = st.tuples(
    _line("Cache-Control", _REQUEST_CONTROL),
    _line("Pragma", st.just("no-cache")),
    _line("Authorization", st.just("Basic eA==")),
).map(lambda parts: [line for part in parts for line in part])
_STATUSES = st.sampled_from(
    [
        200,
        200,
        200,
        200,
        201,
        203,
        204,
        206,
        299,
        301,
        302,
        304,
        307,
        308,
        400,
        403,
        404,
        405,
        410,
        414,
        499,
        500,
        501,
        503,
        599,
        101,
    ]
)


def _written(lines: list[str]) -> list[str]:
    """`@n` as an HTTP-date."""
    return [re.sub(r"@(-?\d+)", lambda m: date(int(m[1])), line) for line in lines]


def _decide(method: str, status: int, lines: list[str], asked: list[str], delay: int) -> Store | DontStore:
    return decide_store(
        request(*asked, method=method),
        response(*_written(lines), status=status),
        POLICY,
        request_time=NOW - delay * 1000,
        response_time=NOW,
    )


@given(
    method=st.sampled_from(["GET"] * 8 + ["HEAD", "POST", "PUT"]),
    status=_STATUSES,
    lines=_RESPONSES,
    asked=_REQUESTS,
    delay=st.sampled_from([0, 0, 1, 30]),
)
@settings(max_examples=1500, deadline=None)
def test_what_may_be_stored(method, status, lines, asked, delay):
    made = oracle.Response(status, lines, delay)
    decision = _decide(method, status, lines, asked, delay)
    assert isinstance(decision, Store) is oracle.storable(method, asked, made), decision
    if isinstance(decision, Store):
        assert decision.age(NOW) == made.initial_age
        if not oracle.has(made.control, "no-cache"):
            assert decision.lifetime == made.lifetime() * 1000
            assert decision.fresh_until - decision.born == made.lifetime() * 1000


_NAMES = {
    Decision.SERVE: "serve",
    Decision.SERVE_STALE_SWR: "background",
    Decision.VALIDATE: "validate",
    Decision.FETCH: "fetch",
    Decision.GATEWAY_TIMEOUT: "timeout",
}


@given(
    status=st.sampled_from([200, 404, 301]),
    lines=_RESPONSES,
    asked=_REQUESTS,
    delay=st.sampled_from([0, 5]),
    after=st.sampled_from([0, 1, 5, 8, 9, 10, 30, 59, 60, 61, 99, 100, 500, 86_399, 86_400, 10**6]),
)
@settings(max_examples=1500, deadline=None)
def test_what_may_be_used(status, lines, asked, delay, after):
    decision = _decide("GET", status, lines, [], delay)
    if not isinstance(decision, Store):
        return
    made = oracle.Response(status, lines, delay)
    use = decide_use(request(*asked), decision, POLICY, NOW + after * 1000)
    assert _NAMES[use.decision] == oracle.use(asked, made, after), use
    failed = decide_use(request(*asked), decision, POLICY, NOW + after * 1000, origin_failed=True)
    served = failed.decision in (Decision.SERVE, Decision.SERVE_STALE_SIE)
    assert served is oracle.use_after_failure(made, after), failed

"""The words that logs, metrics and Cache-Status use, and that a decision cannot be changed once made."""

from __future__ import annotations

from dataclasses import FrozenInstanceError

import pytest

from cdn.rules.cache_status import FORWARD_REASONS
from cdn.rules.conditional import Verdict
from cdn.rules.directives import RequestDirectives, ResponseDirectives, parse_cache_control
from cdn.rules.freshness import Lifetime, LifetimeSource
from cdn.rules.message import Fields, RequestHead, ResponseHead
from cdn.rules.outcome import NoStoreReason, Outcome
from cdn.rules.partial import ContentRange, Part
from cdn.rules.ranges import UNSATISFIABLE, multipart
from cdn.rules.storing import DontStore
from cdn.rules.structured import Date, parse_item
from cdn.rules.use import Decision, Use
from cdn.rules.validation import HeadUpdate
from tests.rules.make import POLICY, request, response, stored

RECORD = stored("Cache-Control: max-age=60")
WORDS = {
    Outcome: "hit stale-swr stale-sie revalidated miss collapsed pass synthetic error",
    Verdict: "proceed not-modified precondition-failed",
    HeadUpdate: "freshen invalidate ignore",
    Decision: "serve serve-stale-swr serve-stale-sie validate fetch gateway-timeout",
    NoStoreReason: "method status no-store request-no-store private authorization set-cookie vary-star partial"
    " no-freshness route-off bypass too-large no-space truncated close-delimited predicted-uncacheable"
    " no-transform behind purged",
    LifetimeSource: "override_ttl s-maxage max-age Expires status_ttl ttl heuristic none",
}


@pytest.mark.parametrize("words", WORDS)
def test_words(words):
    assert [str(word) for word in words] == WORDS[words].split()


def test_forward_reasons_are_those_of_rfc_9211():
    assert set(FORWARD_REASONS) == {
        "bypass",
        "method",
        "uri-miss",
        "vary-miss",
        "miss",
        "request",
        "stale",
        "partial",
    }


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (RECORD, "born"),
        (DontStore(NoStoreReason.PRIVATE), "reason"),
        (Use(Decision.SERVE, "fresh"), "reason"),
        (Lifetime(1, LifetimeSource.TTL), "ms"),
        (RequestDirectives(), "no_cache"),
        (ResponseDirectives(), "no_cache"),
        (parse_cache_control("a"), "directives"),
        (ContentRange(0, 1, 2), "first"),
        (Part(RECORD, (), None), "length"),
        (multipart([(0, 0)], 9, RECORD), "length"),
        (parse_item("1"), "value"),
        (Date(1), "seconds"),
        (request(), "method"),
        (response(), "status"),
        (POLICY, "ttl"),
    ],
)
def test_values_do_not_change(value, name):
    with pytest.raises(FrozenInstanceError):
        setattr(value, name, None)


def test_values_have_no_room_for_more():
    for value in (RECORD, UNSATISFIABLE, request()):
        assert not hasattr(value, "__dict__")


def test_what_nobody_said_is_false_or_absent():
    for directives in (ResponseDirectives(), RequestDirectives()):
        values = {name: getattr(directives, name) for name in directives.__slots__}
        assert not any(values.values()), values
    assert ResponseHead(200, Fields()) == ResponseHead(200, Fields(), "", (1, 1))
    assert RequestHead("GET", "http", "a", "/", None, Fields()).version == (1, 1)

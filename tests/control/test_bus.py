"""The bus without a broker: what a start says, what is believed of other nodes, what travels."""

from __future__ import annotations

import importlib.util
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cdn.config import parse
from cdn.config.values import Address, Bus, Config, OriginTls
from cdn.control import broker
from cdn.control.neighbours import GONE, LONGEST, MOST, Neighbours, version_of
from cdn.control.purge_request import PurgeRequest, decode

BUS = Bus((Address("nats", "127.0.0.1", 4222),))


def config(name: str = "edge-1", ttl: str = "5m") -> Config:
    return parse(
        f"node: {{name: {name}}}\nlisten: [http://127.0.0.1:8080]\n"
        "origins: {app: {servers: [http://127.0.0.1:9000]}}\n"
        f"routes: [{{match: {{path: /*}}, origin: app, cache: {{ttl: {ttl}}}}}]\n",
        base="/",
    )


# What a start says


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    there = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name in ("nats", "nkeys") else there(name)
    )
    assert list(broker.problems(BUS)) == ["bus: the package nats-py is missing: pip install 'cdn[bus]'"]


def test_a_variable_that_is_not_set_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CDN_TEST_BUS", raising=False)
    (problem,) = broker.problems(replace(BUS, token_env="CDN_TEST_BUS"))
    assert "CDN_TEST_BUS is not set" in problem
    monkeypatch.setenv("CDN_TEST_BUS", "secret")
    assert not list(broker.problems(replace(BUS, token_env="CDN_TEST_BUS")))


def test_an_authority_of_no_use_is_named(tmp_path: Path) -> None:
    ca = tmp_path / "ca.pem"
    ca.write_text("nothing")
    config = Bus((Address("tls", "127.0.0.1", 4222),), tls=OriginTls(ca=str(ca)))
    (problem,) = broker.problems(config)
    assert problem.startswith("bus: the TLS files cannot be used")


# What travels


WANTED = PurgeRequest(
    urls=("http://a.test/x?y=z",),
    tags=("news", "käse"),
    prefixes=("https://a.test/p",),
    hosts=("a.test",),
    soft=True,
)


def test_a_purge_arrives_as_it_was_sent() -> None:
    for wanted in (WANTED, PurgeRequest(all=True)):
        assert decode(wanted.encode("edge-1")) == wanted


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff\xfe",
        b"[" * 100_000,
        b"7",
        b"null",
        b'{"v": 1}',
        b'{"v": 2, "purge": {"all": true}}',
        b'{"v": 1, "purge": []}',
        b'{"v": 1, "purge": {}}',
        b'{"v": 1, "purge": {"all": 1}}',
        b'{"v": 1, "purge": {"all": true, "more": 1}}',
        b'{"v": 1, "purge": {"urls": ["http://a b/"]}}',
        b'{"v": 1, "purge": {"urls": "http://a/"}}',
        b'{"v": 1, "purge": {"tags": ["a,b"]}}',
        b'{"v": 1, "purge": {"tags": ["\\ud800"]}}',
        b'{"v": 1, "purge": {"hosts": ["a/b"]}}',
    ],
)
def test_what_is_no_purge_is_one_sentence(data: bytes) -> None:
    with pytest.raises(ValueError) as caught:
        decode(data)
    assert "\n" not in str(caught.value)
    assert not isinstance(caught.value, UnicodeError)


# Other nodes


class Time:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def words(**other: Any) -> bytes:
    said = {"node": "edge-2", "tier": "edge", "configuration": "0123456789ab", "sequence": 7}
    return json.dumps({**said, **other}).encode()


def test_the_version_is_that_of_routes_and_origins() -> None:
    assert version_of(config()) == version_of(config("edge-2"))
    assert version_of(config()) != version_of(config(ttl="6m"))


def test_a_node_is_known_until_it_is_silent() -> None:
    time = Time()
    here, there = Neighbours(config(), time), Neighbours(config("edge-2"), time)
    here.hear(there.word(7))
    here.hear(here.word(9))  # our own
    assert here.news() == []
    assert [node["node"] for node in here.stats()["nodes"]] == ["edge-2"]
    assert here.stats()["nodes"][0]["sequence"] == 7
    time.now += GONE + 1
    assert here.stats()["nodes"] == []


def test_a_node_with_another_configuration_is_named_once() -> None:
    here = Neighbours(config())
    here.hear(words())
    assert len(here.news()) == 1
    here.hear(words())
    assert here.news() == []
    assert here.stats()["differing"] == 1
    here.hear(words(configuration="0123456789ac"))
    assert len(here.news()) == 1
    here.configure(config(ttl="9m"))
    assert len(here.news()) == 1
    here.hear(Neighbours(config("edge-2", ttl="9m")).word(8))
    assert here.stats()["differing"] == 0


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff",
        b"[" * LONGEST,
        b" " * (LONGEST + 1) + words(),
        b"[]",
        b"3",
        b"{}",
        words(node=7),
        words(node="a b"),
        words(node=None),
        words(configuration="0123456789ab\n"),
        words(configuration=3),
        words(sequence="7"),
        words(sequence=None),
    ],
)
def test_what_is_no_word_is_nothing(data: bytes) -> None:
    here = Neighbours(config())
    here.hear(data)
    assert here.stats()["nodes"] == []


def test_no_more_nodes_are_listed_than_there_may_be() -> None:
    here = Neighbours(config())
    for number in range(MOST + 10):
        here.hear(words(node=f"n{number}"))
    assert len(here.stats()["nodes"]) == MOST

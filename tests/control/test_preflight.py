"""Ports and tokens that would stop a start are found before it, and said in one sentence."""

from __future__ import annotations

import errno
import socket

import pytest

from cdn.config import parse
from cdn.config.values import Address
from cdn.control.preflight import explain_bind_error, is_loopback, port_problem, problems

SITE = """
listen: [http://127.0.0.1:{port}]
origins: {{app: {{servers: [http://127.0.0.1:9000]}}}}
routes: [{{match: {{path: /*}}, origin: app}}]
"""


@pytest.mark.parametrize("share", [False, True])
def test_a_port_in_use_is_noticed_even_when_its_owner_shares_it(share: bool) -> None:
    with socket.socket() as owner:
        owner.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if share:
            owner.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        owner.bind(("127.0.0.1", 0))
        owner.listen()
        port = owner.getsockname()[1]
        found = problems(parse(SITE.format(port=port)))
        sentence = "the port is in use by another process; stop it or listen on another port"
        assert found == [f"http://127.0.0.1:{port}: {sentence}"]
        assert "in use" in (port_problem(Address("http", "0.0.0.0", port)) or "")
    assert problems(parse(SITE.format(port=port))) == []


def test_a_connection_in_time_wait_is_no_owner() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)):
            accepted, _ = server.accept()
            accepted.close()  # our side closes first: TIME_WAIT stays on this port
    assert port_problem(Address("http", "127.0.0.1", port)) is None


def test_an_address_that_is_not_ours() -> None:
    problem = port_problem(Address("http", "192.0.2.1", 0))
    assert problem is not None
    assert "this machine has no such address" in problem


@pytest.mark.parametrize(
    ("number", "sentence"),
    [
        (errno.EACCES, "http://0.0.0.0:80: this user may not listen on port 80; use a port from 1024 up"),
        (errno.EADDRINUSE, "the port is in use by another process"),
        (errno.EMFILE, "cannot listen there: Too many open files"),
    ],
)
def test_each_reason_has_its_sentence(number: int, sentence: str) -> None:
    import os

    assert sentence in explain_bind_error(
        Address("http", "0.0.0.0", 80), OSError(number, os.strerror(number))
    )


@pytest.mark.parametrize(
    ("host", "home"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("localhost", True),
        ("Localhost.", True),
        ("0.0.0.0", False),
        ("10.0.0.1", False),
        ("localhost.example", False),
        ("", False),
    ],
)
def test_what_is_loopback(host: str, home: bool) -> None:
    assert is_loopback(host) is home


def test_an_admin_listener_for_others_needs_a_token(monkeypatch: pytest.MonkeyPatch) -> None:
    with_token = "admin: {{listen: http://0.0.0.0:0, token_env: TEST_TOKEN}}" + SITE
    config = parse(with_token.format(port=0))
    monkeypatch.delenv("TEST_TOKEN", raising=False)
    found = problems(config)
    assert "admin: the environment variable TEST_TOKEN is not set; set it, or leave token_env out" in found
    assert any("needs a token" in text for text in found)
    monkeypatch.setenv("TEST_TOKEN", "two words")
    assert problems(config) == ["admin: the token in TEST_TOKEN has to be printable ASCII without spaces"]
    monkeypatch.setenv("TEST_TOKEN", "s3cret")
    assert problems(config) == []

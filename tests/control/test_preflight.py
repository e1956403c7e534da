"""Ports and tokens that would stop a start are found before it, and said in one sentence."""

from __future__ import annotations

import errno
import socket

import pytest

from cdn.config.values import Address, Admin
from cdn.control.preflight import admin_problems, explain_bind_error, is_loopback
from cdn.proxy.listening import BindError, bind


def problem(host: str, port: int) -> str | None:
    address = Address("http", host, port)
    try:
        for sock in bind(address):
            sock.close()
    except BindError as error:
        return explain_bind_error(address, error)
    return None


@pytest.mark.parametrize("share", [False, True])
def test_a_port_in_use_is_noticed_even_when_its_owner_shares_it(share: bool) -> None:
    with socket.socket() as owner:
        owner.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if share:
            owner.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        owner.bind(("127.0.0.1", 0))
        owner.listen()
        port = owner.getsockname()[1]
        sentence = "the port is in use by another process; stop it or listen on another port"
        assert problem("127.0.0.1", port) == f"http://127.0.0.1:{port}: {sentence}"
        assert "in use" in (problem("0.0.0.0", port) or "")
    assert problem("127.0.0.1", port) is None


def test_a_connection_in_time_wait_is_no_owner() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)):
            accepted, _ = server.accept()
            accepted.close()  # our side closes first: TIME_WAIT stays on this port
    assert problem("127.0.0.1", port) is None


def test_an_address_that_is_not_ours() -> None:
    assert "this machine has no such address" in (problem("192.0.2.1", 0) or "")


def test_a_name_stands_for_all_its_addresses_on_one_port() -> None:
    sockets = bind(Address("http", "localhost", 0))
    try:
        assert len({sock.getsockname()[1] for sock in sockets}) == 1
        assert {sock.getsockname()[0] for sock in sockets} <= {"127.0.0.1", "::1"}
    finally:
        for sock in sockets:
            sock.close()


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
    admin = Admin(Address("http", "0.0.0.0", 0), "TEST_TOKEN")
    monkeypatch.delenv("TEST_TOKEN", raising=False)
    found = list(admin_problems(admin))
    assert "admin: the environment variable TEST_TOKEN is not set; set it, or leave token_env out" in found
    assert any("needs a token" in text for text in found)
    monkeypatch.setenv("TEST_TOKEN", "two words")
    assert list(admin_problems(admin)) == [
        "admin: the token in TEST_TOKEN has to be printable ASCII without spaces"
    ]
    monkeypatch.setenv("TEST_TOKEN", "s3cret")
    assert list(admin_problems(admin)) == []

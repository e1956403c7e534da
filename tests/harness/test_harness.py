"""The harness against itself: a raw client on a scripted origin, no proxy between them."""

from __future__ import annotations

import socket
import threading
import time

import pytest

from tests.harness import (
    Barrier,
    Closed,
    Crew,
    Origin,
    RawClient,
    Signal,
    Wire,
    WireError,
    chunked,
    close,
    expect,
    fresh,
    hold,
    refusing_port,
    reply,
    request_bytes,
    reset,
    respond,
    send,
    stall,
)


def test_a_rule_answers_every_request_and_counts_them() -> None:
    with Origin(
        {"/a": fresh(60, b"hello", etag='"1"'), "/b": lambda request: reply(201, body=request.body)}
    ) as origin:
        with RawClient(origin.port) as client:
            first = client.get("/a?x=1")
            assert (first.status, first.body, first["etag"]) == (200, b"hello", '"1"')
            assert client.ask("POST", "/b", body=b"data").body == b"data"
            assert (
                client.ask("POST", "/b", {"Transfer-Encoding": "chunked"}, chunked(b"da", b"ta")).body
                == b"data"
            )
            assert client.get("/nowhere").status == 404
        assert (origin.count(), origin.count("/a"), origin.count("/b", "POST"), origin.connections) == (
            4,
            1,
            2,
            1,
        )
        assert origin.requests[0].raw == request_bytes("GET", "/a?x=1")


def test_a_script_runs_step_by_step() -> None:
    middle = Signal("middle")
    script = [
        expect("GET", "/s"),
        send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab"),
        hold(middle),
        send(b"cd"),
        close(),
    ]
    with Origin.scripted(script) as origin, RawClient(origin.port) as client:
        client.request("GET", "/s")
        head, body = client.read_head()
        assert head.status == 200
        assert body.exactly(2) == b"ab"
        client.expect_open()
        middle.set()
        assert body.rest() == b"cd"
        client.expect_closed()


def _ask_and_leave(origin: Origin, times: int) -> None:
    with origin:
        for _ in range(times):
            with RawClient(origin.port) as client:
                client.request("GET", "/wrong")
                client.wire.until_closed()


def test_a_script_that_is_disappointed_fails_the_test() -> None:
    with pytest.raises(AssertionError, match="expected"):
        _ask_and_leave(Origin.scripted([expect("GET", "/right")]), 1)


def test_one_connection_too_many_fails_the_test() -> None:
    with pytest.raises(AssertionError, match="connection 2"):
        _ask_and_leave(Origin.scripted([expect(), respond(200, close=True)]), 2)


def test_reset_and_stall() -> None:
    with Origin.scripted([expect(), reset()], [expect(), stall()]) as origin:
        with RawClient(origin.port) as client:
            client.request()
            with pytest.raises(Closed):
                client.read_response()
        with RawClient(origin.port, timeout=0.2) as client:
            client.request()
            with pytest.raises(WireError, match="of silence"):
                client.read_response()


def test_a_refusing_port_refuses() -> None:
    with refusing_port() as port, pytest.raises(ConnectionRefusedError):
        RawClient(port)


MALFORMED = {
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx",
    "length and chunks": b"HTTP/1.1 200 \r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "another coding": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "bare LF": b"HTTP/1.1 200 OK\nContent-Length: 0\r\n\r\n",
    "bare CR": b"HTTP/1.1 200 OK\r\nA: b\rc\r\n\r\n",
    "folded line": b"HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n",
    "space before colon": b"HTTP/1.1 200 OK\r\nA : b\r\n\r\n",
    "control byte": b"HTTP/1.1 200 OK\r\nA: \x01\r\n\r\n",
    "chunk size": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0x1\r\nx\r\n0\r\n\r\n",
    "chunk end": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nxy\r\n0\r\n\r\n",
    "cut body": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc",
    "cut chunks": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n",
    "no head": b"",
    "status line": b"HTTP/1.1 20 OK\r\n\r\n",
    "204 with a length": b"HTTP/1.1 204 No Content\r\nContent-Length: 3\r\n\r\n",
}


@pytest.mark.parametrize("answer", MALFORMED.values(), ids=MALFORMED)
def test_the_client_refuses_what_can_be_read_in_two_ways(answer: bytes) -> None:
    with Origin.scripted([expect(), send(answer), close()]) as origin, RawClient(origin.port) as client:
        client.request()
        with pytest.raises(WireError):
            client.read_response()


def test_the_client_reads_every_framing() -> None:
    bodies = {"/length": "length", "/chunked": "chunked", "/close": "close"}
    with Origin(
        {path: reply(200, body=b"12345", framing=framing) for path, framing in bodies.items()}
    ) as origin:
        for path, framing in bodies.items():
            with RawClient(origin.port) as client:
                answer = client.get(path)
                assert (answer.body, answer.framing) == (b"12345", framing)
        with RawClient(origin.port) as client:
            client.request("HEAD", "/length")
            assert client.read_response("HEAD").body == b""
            client.expect_open()


def test_a_body_is_compared_as_it_comes() -> None:
    with Origin(reply(200, body=b"12345" * 50_000)) as origin:
        for right, told in (
            (b"12345" * 50_000, None),
            (b"12345" * 40_000 + b"12x45" + b"12345" * 9_999, "byte 200002 "),
            (b"12345" * 40_000, "goes on after its 200000 "),
            (b"12345" * 50_001, "ended 5 bytes early"),
        ):
            with RawClient(origin.port) as client:
                client.request()
                _, body = client.read_head()
                if told is None:
                    body.expect(right)
                    continue
                with pytest.raises(WireError, match=told):
                    body.expect(right)


def test_interim_responses_are_kept_apart() -> None:
    data = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    with Origin.scripted([expect(), send(data)]) as origin, RawClient(origin.port) as client:
        answer = client.get()
        assert [interim.status for interim in answer.interim] == [103]
        assert answer.status == 200


def test_byte_by_byte_arrives_whole() -> None:
    with Origin(reply(200, body=b"ok")) as origin, RawClient(origin.port) as client:
        client.send_bytewise(request_bytes("GET", "/slow"))
        assert client.read_response().body == b"ok"
        assert origin.last.target == "/slow"


def test_waits_are_bounded() -> None:
    with pytest.raises(AssertionError, match="never set"):
        Signal().wait(0.01)
    with pytest.raises(AssertionError, match="of 2 reached"):
        Barrier(2).wait(0.01)


def test_a_crew_meets_and_reports_its_errors() -> None:
    barrier = Barrier(3)
    with Crew() as crew:
        tasks = [crew.start(barrier.wait) for _ in range(3)]
        assert [task.result() for task in tasks] == [None, None, None]

    def fail() -> None:
        raise ValueError("from the thread")

    with pytest.raises(ValueError, match="from the thread"), Crew() as crew:
        crew.start(fail)


def test_nothing_is_left_running() -> None:
    with Origin(reply(200)) as origin:
        client = RawClient(origin.port)
        client.get()
        time.sleep(0)
    client.expect_closed()
    client.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "origin"]


def test_the_origin_reads_requests_strictly() -> None:
    left, right = socket.socketpair()
    with left, right:
        left.sendall(b"POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n")
        with pytest.raises(WireError, match="both"):
            Wire(right).request_head()

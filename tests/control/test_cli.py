"""The command as a user meets it: exit codes, one sentence, help with examples."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import cdn

from .fakes import running_admin

SITE = """
listen: [http://127.0.0.1:{port}]
admin: {{listen: http://127.0.0.1:{admin}}}
origins: {{app: {{servers: [http://127.0.0.1:9000]}}}}
routes: [{{match: {{host: [a.example], path: /*}}, origin: app}}]
"""


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("CDN_")}
    return subprocess.run(
        [sys.executable, "-m", "cdn", *arguments],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        env={**inherited, **environment},
    )


@pytest.fixture
def site(tmp_path: Path) -> Path:
    path = tmp_path / "site.yaml"
    path.write_text(SITE.format(port=0, admin=9090))
    return path


def test_version() -> None:
    done = run("--version")
    assert (done.returncode, done.stdout) == (0, f"cdn {cdn.__version__}\n")


@pytest.mark.parametrize(
    "command", [[], ["serve"], ["check"], ["demo"], ["purge"], ["explain"], ["top"], ["bench"]]
)
def test_every_command_has_help_with_examples(command: list[str]) -> None:
    done = run(*command, "--help")
    assert done.returncode == 0
    assert "examples:\n  cdn " in done.stdout
    assert done.stderr == ""


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["frobnicate"],
        ["serve"],
        ["serve", "a.yaml", "--drain", "soon"],
        ["check"],
        ["demo", "--port", "0"],
        ["purge"],
        ["purge", "--all", "--url", "http://a.example/"],
        ["explain"],
        ["explain", "http://a.example/", "-H", "nocolon"],
        ["explain", "http://a.example/", "--admin", "ftp://x"],
        ["explain", "http://a.example/", "--admin", "http://x:99999"],
    ],
)
def test_wrong_use_is_2_and_no_traceback(arguments: list[str]) -> None:
    done = run(*arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr
    assert "Traceback" not in done.stderr


def test_check_prints_a_normal_form_that_is_its_own(site: Path, tmp_path: Path) -> None:
    first = run("check", str(site))
    assert (first.returncode, first.stderr) == (0, "")
    again = tmp_path / "again.yaml"
    again.write_text(first.stdout)
    assert run("check", str(again)).stdout == first.stdout
    assert run("check", "--quiet", str(site)).stdout == ""


def test_check_says_every_mistake_in_a_line_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text("listen: [http://127.0.0.1:8080]\norgins: {}\nroutes: [{match: {pth: /}, origin: app}]\n")
    done = run("check", str(path))
    assert (done.returncode, done.stdout) == (2, "")
    lines = done.stderr.splitlines()
    assert len(lines) >= 2
    assert all(line.startswith(str(path)) for line in lines)
    assert f"{path}:2: " in done.stderr
    assert f"{path}:3: " in done.stderr


def test_check_warns_on_stderr_and_passes(tmp_path: Path) -> None:
    path = tmp_path / "site.yaml"
    path.write_text(SITE.format(port=0, admin=9090).replace("host: [a.example], ", ""))
    done = run("check", str(path))
    assert done.returncode == 0
    assert done.stderr.startswith("warning: routes[0]")


@pytest.mark.parametrize("command", ["check", "serve"])
def test_a_file_that_cannot_be_read_is_one_sentence(command: str, tmp_path: Path) -> None:
    for path, why in ((tmp_path / "missing.yaml", "No such file"), (tmp_path, "Is a directory")):
        done = run(command, str(path))
        assert done.returncode == 2
        assert len(done.stderr.splitlines()) == 1
        assert why in done.stderr


def test_a_reader_that_left_is_no_traceback(site: Path) -> None:
    command = f"{sys.executable} -m cdn check {site} | true"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=30, check=False)
    assert "Traceback" not in done.stderr
    assert "Exception" not in done.stderr


def test_purge_by_url_all_and_softly() -> None:
    with running_admin() as admin:
        where = f"http://127.0.0.1:{admin.port}"
        done = run("purge", "--url", "http://a.example/x", "--url", "http://a.example/y", "--admin", where)
        assert (done.returncode, done.stdout) == (0, "purged 2 URLs: 2 reached\n")
        done = run("purge", "--all", "--soft", CDN_ADMIN=where)
        assert (done.returncode, done.stdout) == (0, "soft-purged everything: 42 reached\n")
        assert admin.node.purges == [
            (["http://a.example/x", "http://a.example/y"], False, False),
            ([], True, True),
        ]


def test_purge_by_names() -> None:
    with running_admin() as admin:
        where = f"http://127.0.0.1:{admin.port}"
        done = run("purge", "--tag", "a", "--tag", "b", "--host", "a.example", "--admin", where)
        assert (done.returncode, done.stdout) == (0, "purged 2 tags, 1 host\n")
        done = run(
            "purge",
            "--prefix",
            "http://a.example/i",
            "--url",
            "http://a.example/",
            "--soft",
            "--admin",
            where,
        )
        assert (done.returncode, done.stdout) == (0, "soft-purged 1 URL, 1 prefix: 1 reached\n")
        assert admin.node.named == [(["a", "b"], [], ["a.example"]), ([], ["http://a.example/i"], [])]


def test_the_token_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TEST_TOKEN", "s3cret")
    with running_admin(token_env="TEST_TOKEN") as admin:
        monkeypatch.delenv("TEST_TOKEN")
        where = f"http://127.0.0.1:{admin.port}"
        assert run("purge", "--all", "--admin", where, CDN_ADMIN_TOKEN="s3cret").returncode == 0
        done = run("purge", "--all", "--admin", where, CDN_ADMIN_TOKEN="wrong")
        assert done.returncode == 3
        assert "refused: send the admin token" in done.stderr
        assert "wrong" not in done.stderr
        config = tmp_path / "site.yaml"
        text = SITE.format(port=0, admin=f"{admin.port}, token_env: TEST_TOKEN")
        config.write_text(text)
        assert run("purge", "--all", "--config", str(config), TEST_TOKEN="s3cret").returncode == 0
        assert run("purge", "--all", "--config", str(config)).returncode == 3


def test_a_refusal_of_the_node_is_3() -> None:
    with running_admin() as admin:
        where = f"http://127.0.0.1:{admin.port}"
        for arguments, sentence in (
            (["purge", "--tag", ""], "a tag has to be a text"),
            (["purge", "--url", "/x"], "not an absolute http or https URL"),
            (["explain", "nonsense"], "not an absolute URL"),
        ):
            done = run(*arguments, "--admin", where)
            assert done.returncode == 3
            assert sentence in done.stderr
            assert len(done.stderr.splitlines()) == 1


def test_a_node_that_is_not_there_is_3() -> None:
    import socket

    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        where = f"http://127.0.0.1:{reserved.getsockname()[1]}"
        for arguments in (["purge", "--all"], ["explain", "http://a.example/"]):
            done = run(*arguments, "--admin", where)
            assert done.returncode == 3
            assert f"cannot reach the admin listener at {where}: Connection refused" in done.stderr


def test_something_else_on_that_port_is_3() -> None:
    import threading
    from socket import create_server

    with create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            for reply in (b"SSH-2.0-OpenSSH\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"):
                client, _ = server.accept()
                client.recv(4096)
                client.sendall(reply)
                client.close()

        thread = threading.Thread(target=answer)
        thread.start()
        for _ in range(2):
            done = run("purge", "--all", "--admin", f"http://127.0.0.1:{server.getsockname()[1]}")
            assert done.returncode == 3
            assert "Traceback" not in done.stderr
        thread.join()


def test_explain_as_text_and_json() -> None:
    with running_admin() as admin:
        where = f"http://127.0.0.1:{admin.port}"
        done = run("explain", "http://a.example/", "-H", "Accept-Language: de", "--admin", where)
        assert done.returncode == 0
        assert done.stdout.splitlines() == [
            "url     http://a.example/",
            "fields",
            "  Accept-Language  de",
            "route   0",
        ]
        done = run("explain", "http://a.example/", "--json", "--admin", where)
        assert json.loads(done.stdout)["url"] == "http://a.example/"


def test_a_proxy_in_the_environment_is_not_used() -> None:
    with running_admin() as admin:
        where = f"http://127.0.0.1:{admin.port}"
        done = run(
            "purge",
            "--all",
            "--admin",
            where,
            http_proxy="http://127.0.0.1:1",
            HTTP_PROXY="http://127.0.0.1:1",
        )
        assert done.returncode == 0

"""Debian's nginx as an origin: one process in the foreground that serves a folder and logs every request."""

from __future__ import annotations

import socket
import subprocess
from pathlib import Path
from types import TracebackType

from ..harness.process import free_port
from ..harness.sync import eventually
from ..peers import need

CONFIG = """\
daemon off;
master_process off;
pid {home}/nginx.pid;
error_log {home}/nginx-error.log;
events {{ worker_connections 4096; }}
http {{
  include /etc/nginx/mime.types;
  access_log {home}/nginx-access.log;
  keepalive_requests 1000000;
  keepalive_timeout 300s;
  client_body_temp_path {home}/body;
  proxy_temp_path {home}/proxy;
  fastcgi_temp_path {home}/fastcgi;
  uwsgi_temp_path {home}/uwsgi;
  scgi_temp_path {home}/scgi;
  server {{
    listen 127.0.0.1:{port} backlog=1024;
    root {root};
    {rules}
  }}
}}
"""


class Nginx:
    """Serves `root`; `rules` are directives of its one server. `home` is a folder for its logs."""

    def __init__(self, root: Path, home: Path, rules: str) -> None:
        self.program = need("nginx")
        self.root, self.home, self.rules, self.port = root, home, rules, free_port()
        self.child: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Nginx:
        file = self.home / "nginx.conf"
        file.write_text(CONFIG.format(home=self.home, port=self.port, root=self.root, rules=self.rules))
        with (self.home / "nginx-out").open("wb") as out:
            self.child = subprocess.Popen(
                [
                    self.program,
                    "-e",
                    str(self.home / "nginx-error.log"),
                    "-p",
                    str(self.home),
                    "-c",
                    str(file),
                ],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
            )
        try:
            eventually(self._answers, "nginx to answer", 10, 0.05)
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def _answers(self) -> bool:
        assert self.child is not None
        assert self.child.poll() is None, (self.home / "nginx-out").read_text()
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
        except OSError:
            return False
        return True

    def log(self) -> str:
        return (self.home / "nginx-access.log").read_text()

    def requests(self) -> int:
        """Requests so far; each is one line of its access log, written just behind the answer's last byte."""
        return self.log().count("\n")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.child is not None and self.child.poll() is None:
            self.child.terminate()
            try:
                self.child.wait(5)
            except subprocess.TimeoutExpired:
                self.child.kill()
                self.child.wait(5)

"""How `cdn purge`, `cdn explain` and `cdn top` reach the admin listener of a running node."""

from __future__ import annotations

import argparse
import http.client
import json
import os
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from cdn.cli.errors import ADMIN_REFUSED, Refused
from cdn.cli.loading import read

DEFAULT = "http://127.0.0.1:9090"
ANSWER = 16 << 20  # bytes of an answer that are read
TIMEOUT = 30.0


def arguments(parser: argparse.ArgumentParser) -> None:
    where = parser.add_argument_group(
        "the node",
        "Which admin listener to ask. The token, where it wants one, comes from the environment variable\n"
        "CDN_ADMIN_TOKEN, or from the one that CONFIG names.",
    )
    choice = where.add_mutually_exclusive_group()
    choice.add_argument(
        "--admin", metavar="URL", help=f"the listener's address (default: $CDN_ADMIN or {DEFAULT})"
    )
    choice.add_argument(
        "--config", metavar="CONFIG", help="the configuration file of the node: take it from there"
    )


class AdminClient:
    """One node's admin listener; every refusal is `Refused` with exit code 3."""

    def __init__(self, args: argparse.Namespace) -> None:
        token_env = "CDN_ADMIN_TOKEN"
        if args.config is not None:
            admin = read(args.config).admin
            if admin is None:
                raise Refused(f"{args.config} has no admin listener: add admin: {{listen: {DEFAULT}}}")
            self.url = str(admin.address).replace("//0.0.0.0:", "//127.0.0.1:").replace("//[::]:", "//[::1]:")
            token_env = admin.token_env or token_env
        else:
            self.url = args.admin or os.environ.get("CDN_ADMIN") or DEFAULT
        try:
            parts = urlsplit(self.url)
            self._host, self._port = parts.hostname or "", parts.port or 80
        except ValueError as error:
            raise Refused(f"--admin {self.url}: {error}") from error
        if parts.scheme != "http" or not self._host or parts.path not in ("", "/"):
            raise Refused(f"--admin {self.url}: give it as http://host:port")
        self._token = os.environ.get(token_env) or None

    def call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """The answer's JSON object."""
        headers = {"Accept": "application/json", "Connection": "close"}
        data = None
        if body is not None:
            data = json.dumps(body).encode()
            headers["Content-Type"] = "application/json"
        if self._token is not None:
            headers["Authorization"] = f"Bearer {self._token}"
        connection = http.client.HTTPConnection(self._host, self._port, timeout=TIMEOUT)
        try:
            connection.request(method, path, data, headers)
            response = connection.getresponse()
            status, text = response.status, response.read(ANSWER)
        except (OSError, http.client.HTTPException, UnicodeError) as error:
            reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise Refused(
                f"cannot reach the admin listener at {self.url}: {reason}; is the node running, "
                "with admin: in its configuration? (--admin names another address)",
                code=ADMIN_REFUSED,
            ) from error
        finally:
            connection.close()
        try:
            answer = json.loads(text)
        except ValueError:
            answer = None
        if not isinstance(answer, dict):
            sentence = f"{self.url} answered {status} and no JSON object: not an admin listener"
            raise Refused(sentence, code=ADMIN_REFUSED)
        if status >= 400:
            raise Refused(f"{self.url} refused: {answer.get('error', status)}", code=ADMIN_REFUSED)
        return answer

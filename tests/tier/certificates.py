"""Certificates made on the spot by the openssl command: an authority of our own, and leaves for names and
addresses."""

from __future__ import annotations

import atexit
import functools
import shutil
import ssl
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path


def _openssl(*arguments: str | Path) -> None:
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)


@dataclass(frozen=True)
class Authority:
    """A certificate authority in `folder`; `file` is what a client has to trust."""

    folder: Path

    @classmethod
    def create(cls, folder: Path) -> Authority:
        authority = cls(folder)
        _openssl(
            "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
            "-subj", "/CN=test authority", "-keyout", folder / "ca.key", "-out", authority.file,
        )  # fmt: skip
        return authority

    @property
    def file(self) -> Path:
        return self.folder / "ca.pem"

    def server(self, *names: str, days: int = 2) -> ssl.SSLContext:
        """A server's context with a leaf for `names` (`DNS:...` or `IP:...`); `days` < 0: it has expired."""
        leaf, key = self.leaf(*names, days=days)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(leaf, key)
        return context

    def leaf(self, *names: str, days: int = 2) -> tuple[Path, Path]:
        """A certificate and its key."""
        stem = self.folder / f"{names[0].replace(':', '_')}{days}"
        key, request, leaf, extra = (stem.with_suffix(s) for s in (".key", ".csr", ".pem", ".ext"))
        extra.write_text(f"subjectAltName={','.join(names)}\n")
        _openssl(
            "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
            "-subj", "/CN=leaf", "-keyout", key, "-out", request,
        )  # fmt: skip
        _openssl(
            "x509", "-req", "-in", request, "-CA", self.file, "-CAkey", self.folder / "ca.key",
            "-CAcreateserial", "-days", str(days), "-extfile", extra, "-out", leaf,
        )  # fmt: skip
        return leaf, key

    def client(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=self.file)


@functools.cache
def local_authority() -> Authority:
    """One authority for a whole test run."""
    folder = tempfile.mkdtemp(prefix="cdn-test-ca-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Authority.create(Path(folder))


@functools.cache
def _local_server() -> ssl.SSLContext:
    return local_authority().server("IP:127.0.0.1")


def secured(client: str) -> ssl.SSLContext | None:
    """What a scripted origin on 127.0.0.1 needs to be asked by this client: TLS, or nothing."""
    return _local_server() if client == "tls" else None

"""Kinds of value that name files: certificates and keys that must be readable and fit, and where a log goes.

Paths are relative to the folder of the configuration; values hold them absolute.
"""

from __future__ import annotations

import os
import ssl
from abc import abstractmethod
from typing import Any

from cdn.config.document import Mapping, Node, Scalar
from cdn.config.kinds import BAD, Kind, Reader
from cdn.config.problems import nearest, quote
from cdn.config.sections import lines_of


def text_of(node: Node, path: str, reader: Reader, wanted: str) -> Any:
    if isinstance(node, Scalar) and node.kind != "null" and node.text and "\0" not in node.text:
        return node.text
    return reader.wrong(node.line, path, f"must be {wanted}")


def absolute_path(text: str, reader: Reader) -> str:
    return os.path.normpath(os.path.join(reader.base, text))


class ReadableFile(Kind):
    def read(self, node: Node, path: str, reader: Reader) -> Any:
        text = text_of(node, path, reader, "the path of a file")
        if text is BAD:
            return BAD
        absolute = absolute_path(text, reader)
        try:
            if os.path.exists(absolute) and not os.path.isfile(absolute):
                return reader.wrong(node.line, path, f"is {quote(text)}, which is not a file")
            with open(absolute, "rb"):
                return absolute
        except OSError as error:
            return reader.wrong(
                node.line,
                path,
                f"is {quote(text)}, which cannot be read: {error.strerror} ({quote(absolute)})",
            )

    def describe(self) -> str:
        return "the path of a file"


class Folder(Kind):
    """The path of a folder; `wrong_with` says what else has to hold."""

    def read(self, node: Node, path: str, reader: Reader) -> Any:
        text = text_of(node, path, reader, self.describe())
        if text is BAD:
            return BAD
        absolute = absolute_path(text, reader)
        wrong = self.wrong_with(absolute)
        if wrong is None and os.path.lexists(absolute) and not os.path.isdir(absolute):
            wrong = "which is not a folder"
        return reader.wrong(node.line, path, f"is {quote(text)}, {wrong}") if wrong else absolute

    @abstractmethod
    def wrong_with(self, absolute: str) -> str | None:
        """The end of a sentence about it, or None."""

    def describe(self) -> str:
        return "the path of a folder"


class ReadableFolder(Folder):
    def wrong_with(self, absolute: str) -> str | None:
        if not os.path.exists(absolute):
            return f"which does not exist ({quote(absolute)})"
        if os.path.isdir(absolute) and not os.access(absolute, os.R_OK | os.X_OK):
            return "which this user may not read"
        return None


class MakeableFolder(Folder):
    """One that is there, or can be made in one that is."""

    def wrong_with(self, absolute: str) -> str | None:
        if os.path.isdir(absolute) or os.path.isdir(os.path.dirname(absolute)):
            return None
        return f"and {quote(os.path.dirname(absolute))} does not exist"


class LogTarget(Kind):
    def read(self, node: Node, path: str, reader: Reader) -> Any:
        text = text_of(node, path, reader, "stdout, stderr or the path of a file")
        if text is BAD or text in {"stdout", "stderr"}:
            return text
        if "/" not in text:
            near = nearest(text, ("stdout", "stderr"))
            hint = f"did you mean `{near}`?" if near else f"for a file write {quote('./' + text)}"
            return reader.wrong(node.line, path, f"is {quote(text)}; {hint}")
        absolute = absolute_path(text, reader)
        if os.path.isdir(absolute):
            return reader.wrong(node.line, path, f"is {quote(text)}, which is a folder; name a file in it")
        if not os.path.isdir(os.path.dirname(absolute)):
            return reader.wrong(node.line, path, f"is {quote(text)}, and the folder for it does not exist")
        return absolute

    def describe(self) -> str:
        return "`stdout` | `stderr` | the path of a file"


def check_listener(node: Mapping, values: dict[str, Any], path: str, reader: Reader) -> None:
    """https needs a certificate and its key, http has neither, and the two fit together."""
    lines, address = lines_of(node), values.get("address", BAD)
    if address is not BAD and address.scheme == "http":
        for name in ("certificate", "key", "client_ca"):
            if name in lines:
                reader.wrong(lines[name], f"{path}.{name}", "is for https, but the listener's `url` is http")
        return
    _check_both(values, lines, path, reader)
    if address is not BAD and "certificate" not in lines and "key" not in lines:
        reader.wrong(
            node.line,
            path,
            f"is https without a certificate; write {{url: {address}, certificate: …, key: …}}",
        )


def check_origin_tls(node: Mapping, values: dict[str, Any], path: str, reader: Reader) -> None:
    """The authorities can be read, and our certificate has its key."""
    lines = lines_of(node)
    ca = values.get("ca")
    if ca is not None and ca is not BAD:
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(ca)
        except (ssl.SSLError, OSError):
            reader.wrong(lines["ca"], f"{path}.ca", "holds no certificate in PEM form")
    if "ca" in lines and values.get("verify") is False:
        reader.wrong(lines["ca"], f"{path}.ca", "says whom to believe, and `verify: false` believes anybody")
    _check_both(values, lines, path, reader)


def _check_both(values: dict[str, Any], lines: dict[str, int], path: str, reader: Reader) -> None:
    """A certificate and its key stand together, and fit."""
    for one, other in (("certificate", "key"), ("key", "certificate")):
        if one in lines and other not in lines:
            reader.wrong(lines[one], path, f"has a `{one}` without its `{other}`")
    if "certificate" in lines and "key" in lines:
        certificate, key = values["certificate"], values["key"]
        if certificate is not BAD and key is not BAD:
            _check_pair(certificate, key, lines, path, reader)


def _check_pair(certificate: str, key: str, lines: dict[str, int], path: str, reader: Reader) -> None:
    """What the TLS library says of the pair. A key behind a passphrase is refused rather than asked for."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    asked: list[bool] = []

    def no_passphrase() -> str:
        asked.append(True)
        return ""

    try:
        context.load_verify_locations(certificate)
    except (ssl.SSLError, OSError):
        reader.wrong(lines["certificate"], f"{path}.certificate", "holds no certificate in PEM form")
        return
    try:
        context.load_cert_chain(certificate, key, no_passphrase)
    except (ssl.SSLError, OSError) as error:
        if asked:
            reader.wrong(
                lines["key"],
                f"{path}.key",
                "is behind a passphrase; store it without one, readable by cdn alone",
            )
        elif "MISMATCH" in str(getattr(error, "reason", "")):
            reader.wrong(lines["key"], f"{path}.key", "does not belong to the certificate beside it")
        else:
            reader.wrong(lines["key"], f"{path}.key", "holds no usable private key in PEM form")

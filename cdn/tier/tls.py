"""The TLS that an origin's servers are spoken to with: whom we believe, how we show ourselves, from which version on.

Decides a context once per origin. Must not know connections.
"""

from __future__ import annotations

import ssl

from cdn.config.values import OriginTls

_MINIMUM = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}


def context(tls: OriginTls) -> ssl.SSLContext:
    """Verification on unless it is switched off, ALPN http/1.1 alone. Raises OSError (ssl.SSLError is one).

    Without `ca` the system's authorities are believed; SSL_CERT_FILE and SSL_CERT_DIR are heeded.
    """
    made = ssl.create_default_context(cafile=tls.ca)
    if not tls.verify:
        made.check_hostname = False
        made.verify_mode = ssl.CERT_NONE
    made.minimum_version = _MINIMUM[tls.minimum]
    made.set_alpn_protocols(["http/1.1"])
    if tls.certificate is not None:
        made.load_cert_chain(tls.certificate, tls.key)
    return made

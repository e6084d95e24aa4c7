"""Files of certificate authorities."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from twisted.internet.ssl import Certificate, trustRootFromCertificates

_PEM = re.compile(rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----\r?\n?", re.DOTALL)
_LIMIT = 4 * 1024 * 1024


class CertificateError(Exception):
    """A file that holds no certificates; the text says why."""


def trust_of(path: str) -> Any:
    """Return the trust root (for Twisted's TLS) that the PEM file at *path* describes.

    Raises :exc:`CertificateError`.
    """
    try:
        with Path(path).open("rb") as file:
            found = [Certificate.loadPEM(pem) for pem in _PEM.findall(file.read(_LIMIT))]
    except OSError as error:
        raise CertificateError(f"{path}: {error.strerror}") from None
    except Exception:  # noqa: BLE001 - the library has errors of its own for what it cannot read
        found = []
    if not found:
        raise CertificateError(f"{path}: holds no certificate in PEM form")
    return trustRootFromCertificates(found)

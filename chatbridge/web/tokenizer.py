"""How texts are counted: by tiktoken where it is installed and has its data on this machine, else by a guess.

tiktoken downloads an encoding when it is first asked for. That is never done here: the file must be in the folder that
``TIKTOKEN_CACHE_DIR`` names, and be the right one, since tiktoken replaces a wrong one by a download too.
"""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from twisted.logger import Logger

from chatbridge.translate.tokens import Count, guess

ENCODING = "o200k_base"
_URL = f"https://openaipublic.blob.core.windows.net/encodings/{ENCODING}.tiktoken"
_SHA256 = "446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d"
TEXT_LIMIT = 1024 * 1024
"""Characters of a text that is worth the time; longer ones are guessed."""

_log = Logger()


def cached(environ: Mapping[str, str]) -> bool:
    """Return whether the encoding's file is on this machine."""
    folder = environ.get("TIKTOKEN_CACHE_DIR")
    if not folder:
        return False
    file = Path(folder, hashlib.sha1(_URL.encode()).hexdigest())  # noqa: S324 - tiktoken's name for it
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest() == _SHA256
    except OSError:
        return False


def counter(environ: Mapping[str, str]) -> Count:
    """Return what counts a text's tokens. May take half a second, for reading the encoding."""
    try:
        tiktoken: Any = importlib.import_module("tiktoken")
        encoding = tiktoken.get_encoding(ENCODING) if cached(environ) else None
    except ImportError:
        return guess
    except Exception:  # noqa: BLE001 - another version of it, with other data
        _log.failure("tiktoken cannot be used; tokens are guessed")
        return guess
    if encoding is None:
        _log.info("tiktoken has no {name} in TIKTOKEN_CACHE_DIR; tokens are guessed", name=ENCODING)
        return guess

    def count(text: str) -> int:
        if len(text) > TEXT_LIMIT:
            return guess(text)
        return len(encoding.encode_ordinary(text.encode("utf-8", "replace").decode()))

    return count

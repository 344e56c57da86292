"""Secrets: what of a configuration is not to be shown, and the configuration without it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

HIDDEN = "***"
_SECRET_KEY = re.compile(
    r"^key$|pass(word|wd|phrase)?$|secret|token|credential|api_?key|access_?key|private_?key|account_?key|\bsas\b|auth_?key",
    re.IGNORECASE,
)
_NOT_SECRET = re.compile(r"token_env_var$|_(path|file|url|type)$", re.IGNORECASE)
_IN_ADDRESS = re.compile(r"(?P<before>[A-Za-z][\w+.-]*://[^\s/:@]*:)(?P<secret>\S+)(?=@)")
_ACCESS_KEY = re.compile(r"(?P<before>\blw_[0-9]{12}_)[A-Za-z0-9_-]{43}")
_IN_PAIRS = re.compile(r"(?P<before>\b(?:\w*password|passwd|pwd|secret|token|sig|api_?key)=)[^\s,;&]+", re.IGNORECASE)


def without_secrets(value: Any, key: str = "") -> Any:
    """Return plain data with ``***`` in place of every secret: by the name of its key, or inside an address.

    Args:
        value: plain data.
        key: the key it stands under; empty at the top.

    Example:
        >>> without_secrets({"path": "postgresql://me:hunter2@db/x", "api_key": "abc", "project": "demo"})
        {'path': 'postgresql://me:***@db/x', 'api_key': '***', 'project': 'demo'}
        >>> without_secrets("redis:6379,password=hunter2,ssl=true")
        'redis:6379,password=***,ssl=true'
        >>> without_secrets("GET /?key=lw_048213377001_" + "x" * 43)
        'GET /?key=lw_048213377001_***'
    """
    if isinstance(value, Mapping):
        return {name: without_secrets(inner, str(name)) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [without_secrets(inner, key) for inner in value]
    if value not in (None, "", False) and _SECRET_KEY.search(key) and not _NOT_SECRET.search(key):
        return HIDDEN
    if isinstance(value, str):
        for pattern in (_ACCESS_KEY, _IN_ADDRESS, _IN_PAIRS):
            value = pattern.sub(rf"\g<before>{HIDDEN}", value)
    return value

"""What a suite says of the backend that it proves; docs/support.md is made from what the tests' classes say."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

__all__ = ["Conformance"]


class Conformance:
    """The words about a backend's suite: literals in the body of the class, for they are read without running it."""

    backend: ClassVar[str] = ""
    """The type in feature_store.yaml, and behind it a variant, such as "redis, a cluster"; empty: it is not listed."""
    runs_on: ClassVar[str] = ""
    """What the tests run on, such as "PostgreSQL 16.2 ({pgserver})"; a locked package in braces gets its version."""
    emulated: ClassVar[bool] = False
    """Whether that only behaves like what users have."""
    written_for: ClassVar[Sequence[str]] = ()
    """What the backend is written for as well, and these tests do not run on."""

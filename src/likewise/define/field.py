"""Field: one named, typed column of a view or a request."""

from __future__ import annotations

import html
from collections.abc import Mapping
from typing import TypeVar

from likewise.core.errors import InvalidName, InvalidType, LikewiseError
from likewise.core.names import check_name
from likewise.core.types import FeatureType, Invalid, as_type
from likewise.define.definition import is_text_to_text

T = TypeVar("T")
_WANTED = {
    "description": "text",
    "tags": "a mapping of text to text",
    "vector_index": "True or False",
    "vector_length": "a whole number, at least 0,",
    "vector_search_metric": "text",
}


class Field:
    """One named, typed column.

    Args:
        name: the column's name, after field mapping.
        dtype: its type: one of ``likewise.types``, a ``ValueType``, or a type's name.
        description: what it is, for people.
        tags: free labels, text to text.
        vector_index: declared for vector search.
        vector_length: the number of elements of a vector, at least 0; 0 means not declared.
        vector_search_metric: the metric of a vector search.
        labels: an older name of ``tags``.

    Example:
        >>> from likewise.core.types import Float32
        >>> Field("amount", Float32)
        Field(name='amount', dtype=Float32)
    """

    __slots__ = (
        "description",
        "dtype",
        "errors",
        "name",
        "tags",
        "vector_index",
        "vector_length",
        "vector_search_metric",
    )

    def __init__(
        self,
        name: str,
        dtype: object = None,
        description: str = "",
        tags: Mapping[str, str] | None = None,
        vector_index: bool = False,
        vector_length: int = 0,
        vector_search_metric: str | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> None:
        self.errors: list[LikewiseError] = []
        self.name = _text(name) or repr(name)
        self.dtype = self._checked(name, dtype)
        self.description = self._kept(description, _text(description), "description", "")
        given = self._one_of(tags or {}, labels or {})
        self.tags = self._kept(given, dict(given) if is_text_to_text(given) else None, "tags", {})
        self.vector_index = self._kept(vector_index, _flag(vector_index), "vector_index", False)
        self.vector_length = self._kept(vector_length, _length(vector_length), "vector_length", 0)
        metric = self._kept(vector_search_metric, _text(vector_search_metric or ""), "vector_search_metric", "")
        self.vector_search_metric = metric or None

    def _one_of(self, tags: Mapping[str, str], labels: Mapping[str, str]) -> Mapping[str, str]:
        if tags and labels and tags != labels:
            what = f"field {self.name!r}: both tags and labels are given, and differ"
            self.errors.append(InvalidType(what, cure="give only tags"))
        return tags or labels

    def _kept(self, given: object, checked: T | None, argument: str, instead: T) -> T:
        if checked is not None:
            return checked
        cure = f"give {_WANTED[argument]} as {argument}"
        self.errors.append(InvalidType(f"field {self.name!r}: {argument}={given!r} cannot be", cure=cure))
        return instead

    def _checked(self, name: object, dtype: object) -> FeatureType:
        try:
            check_name(name, "field")
        except InvalidName as error:
            self.errors.append(error)
        try:
            return as_type(dtype)
        except InvalidType as error:
            self.errors.append(InvalidType(f"field {self.name!r}: {error.message}", cure=error.cure))
            return Invalid

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Field):
            return NotImplemented
        return self._said() == other._said()

    def _said(self) -> tuple[object, ...]:
        vector = (self.vector_index, self.vector_length, self.vector_search_metric)
        return self.name, self.dtype, self.description, self.tags, *vector

    def __hash__(self) -> int:
        return hash((self.name, self.dtype))

    def __repr__(self) -> str:
        return f"Field(name={self.name!r}, dtype={self.dtype})"

    def _repr_html_(self) -> str:
        return f"<code>{html.escape(self.name)}: {html.escape(self.dtype.name)}</code>"


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _flag(value: object) -> bool | None:
    return value if isinstance(value, bool) else None


def _length(value: object) -> int | None:
    return value if isinstance(value, int) and value >= 0 else None


Feature = Field
"""The older name of :class:`Field`; ``Feature("amount", Float32)`` means the same."""

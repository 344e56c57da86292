"""Canonical JSON and the hashes over it never change: registries of every version rest on them."""

import json
import math

import hypothesis.strategies as st
import pytest
from hypothesis import given

from likewise.core.errors import InvalidDefinition
from likewise.registry.catalog import (
    Signature,
    canonical,
    content_hash,
    draft,
    empty_catalog,
    entries_between,
    seal_of,
    successor,
    versions,
)

PLAIN = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.text()),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(), inner, max_size=4)),
)


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (None, b"null"),
        (True, b"true"),
        (-0.0, b"-0.0"),
        (1e300, b"1e+300"),
        (2**70, b"1180591620717411303424"),
        ("é\u2028\0", b'"\xc3\xa9\xe2\x80\xa8\\u0000"'),
        ({"b": [1, {"d": 1, "c": ()}], "a": 1.0}, b'{"a":1.0,"b":[1,{"c":[],"d":1}]}'),
        ({"é": 1, "z": 2, "\U0001f4b3": 3, "\uffff": 4}, '{"z":2,"é":1,"\uffff":4,"💳":3}'.encode()),
    ],
)
def test_canonical_json_is_frozen(value: object, written: bytes) -> None:
    """Plain values are written to these bytes, keys in the order of their code points."""
    assert canonical(value) == written


def test_hashes_are_frozen() -> None:
    """The hash of a definition and the seals of catalogs are these, in every version."""
    card = {"kind": "entity", "name": "card"}
    assert content_hash(card) == "1a7bb1076b74134f7d3ba7593a3dd90262b4019b840b5e16272d3955f92b8217"
    new = draft([card])
    empty = empty_catalog("demo")
    entries = entries_between(empty.manifest, new.manifest, 1)
    made = successor(empty.info, new, entries, Signature(7, "ada", "first"))
    assert empty.seal == "6fa02e6536acacc7293fb3aaaef109f5b7b045c3605f3a879512237a2554866d"
    assert (
        made.seal
        == seal_of(made.info, empty.seal)
        == "c04aadc2b1679663c55e5424b5c8c2055f27fb9ccce21c4b27243b8c1af65030"
    )


@given(PLAIN)
def test_canonical_json_round_trips(value: object) -> None:
    """What was written is read as it was, and is written to the same bytes again."""
    written = canonical(value)
    read = json.loads(written)
    assert canonical(read) == written
    assert read == value


@pytest.mark.parametrize("value", [math.nan, math.inf, b"", {1: 2}, {None: 1}, {"a": {1, 2}}, [object()], 1j, "\ud800"])
def test_what_json_lacks_is_refused(value: object) -> None:
    """NaN, bytes, sets, objects and keys that are no text are refused with the path to them."""
    with pytest.raises(InvalidDefinition, match=r"^view 'x'"):
        canonical(value, "view 'x'")


def test_what_holds_itself_is_refused() -> None:
    """A value that holds itself is an error, not a crash."""
    value: list[object] = []
    value.append(value)
    with pytest.raises(InvalidDefinition, match="nested too deeply, or holds itself"):
        canonical(value)


def test_a_seal_covers_everything() -> None:
    """Changing any fact of a catalog, or its parent's seal, changes its seal."""
    new = draft([{"kind": "entity", "name": "card"}])
    empty = empty_catalog("demo").info

    def seal(
        project: str = "demo", created: int = 7, author: str = "ada", message: str = "first", size: int = 1
    ) -> str:
        entries = entries_between({}, draft([{"kind": "entity", "name": f"e{n}"} for n in range(size)]).manifest, 1)
        return successor(empty_catalog(project).info, new, entries, Signature(created, author, message)).seal

    seals = [seal(), seal("other"), seal(created=8), seal(author="a"), seal(message="f"), seal(size=2)]
    assert len(set(seals)) == len(seals)
    assert seal_of(empty, "other") != empty.seal


def test_versions_of_nothing() -> None:
    """A definition without entries has no versions."""
    assert versions([], {}) == []

"""Types: one name, one Arrow type, one place in Feast's enumeration."""

import re

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from likewise.core.errors import InvalidType
from likewise.core.types import (
    SCALARS,
    Array,
    Family,
    FeatureType,
    Int64,
    Map,
    ScalarMap,
    Set,
    String,
    Struct,
    ValueType,
    accepts,
    arrow_type,
    as_type,
    from_value_type,
    parse_type,
    type_from_arrow,
)

scalars = st.sampled_from(list(SCALARS.values()))
types = st.recursive(
    scalars,
    lambda inner: st.one_of(
        inner.map(Array),
        scalars.filter(lambda kind: kind.family is not Family.MAP).map(Set),
        st.dictionaries(st.from_regex("[a-z]{1,5}", fullmatch=True), inner, min_size=1).map(Struct),
    ),
    max_leaves=4,
)


@given(types)
def test_a_type_is_read_back_from_its_name(declared: FeatureType) -> None:
    """The registry keeps names only, so a name says everything."""
    assert parse_type(declared.name) == declared


@given(types)
def test_a_type_accepts_what_it_is_stored_as(declared: FeatureType) -> None:
    """What a view writes, a view reads."""
    assert accepts(declared, arrow_type(declared)) or "Json" in declared.name or "Uuid" in declared.name


@pytest.mark.parametrize("inner", [Array(Int64), Set(String), Struct({"a": Int64}), Map], ids=str)
def test_a_set_of_what_python_can_make_no_set_of_is_no_type(inner: FeatureType) -> None:
    """Lists, sets, structs and maps cannot be told apart in a set, so such a set is named where it is used."""
    for make in (lambda: as_type(Set(inner)), lambda: parse_type(f"Array(Set({inner}))")):
        with pytest.raises(InvalidType, match=re.escape(f"Set({inner}) is no type: a set cannot hold {inner}")):
            make()


def test_a_map_holds_text_only() -> None:
    """Keys and values of a Map are text; numbers would become text in silence, so such a column is refused."""
    assert accepts(Map, pa.map_(pa.dictionary(pa.int32(), pa.string()), pa.large_string()))
    assert accepts(ScalarMap, pa.map_(pa.string(), pa.null()))
    for other in (pa.map_(pa.string(), pa.float64()), pa.map_(pa.int64(), pa.string())):
        assert not accepts(Map, other)
        with pytest.raises(InvalidType, match=re.escape(f"no feature type holds Arrow's {other}")):
            type_from_arrow(other)


def test_lists_without_any_value_are_lists_of_anything() -> None:
    """A file whose lists are all empty or null has no type for their elements; text is no list for all that."""
    assert accepts(Array(Int64), pa.list_(pa.null()))
    assert accepts(Array(Array(String)), pa.list_(pa.large_list(pa.null())))
    assert accepts(Struct({"a": Array(Int64)}), pa.struct([("a", pa.list_(pa.null())), ("b", pa.null())]))
    assert not accepts(Int64, pa.list_(pa.null()))
    assert not accepts(Array(Int64), pa.list_(pa.string()))
    assert not accepts(Struct({"a": Int64}), pa.struct([("b", pa.null())]))


@pytest.mark.parametrize(
    "text", ["", "Foo", "Array", "Array(", "Array(Int64", "Struct({})", "Int64)", "Array(Int64)x", "("]
)
def test_a_text_that_names_no_type_is_refused(text: str) -> None:
    """Near misses are offered."""
    with pytest.raises(InvalidType, match="is not a feature type"):
        parse_type(text)


def test_a_deeply_nested_name_is_refused_and_not_followed() -> None:
    """A hostile registry cannot exhaust the stack."""
    with pytest.raises(InvalidType):
        parse_type("Array(" * 100_000)


NO_TYPE = {"UNKNOWN", "NULL", "VALUE_LIST", "VALUE_SET", "STRUCT", "STRUCT_LIST"}


@pytest.mark.parametrize("value", [v for v in ValueType if v.name not in NO_TYPE])
def test_every_value_type_of_feast_has_a_type(value: ValueType) -> None:
    """And that type says the same ValueType."""
    assert as_type(value).to_value_type() is value


def test_value_types_without_a_type_of_their_own_say_so() -> None:
    """NULL is the type of nothing."""
    with pytest.raises(InvalidType, match="has no type of its own"):
        from_value_type(ValueType.NULL)


@pytest.mark.parametrize("held", [pa.duration("s"), pa.time32("s"), pa.month_day_nano_interval()])
def test_arrow_types_that_no_feature_holds_are_named(held: pa.DataType) -> None:
    """The message says what to do."""
    with pytest.raises(InvalidType, match="cast the column"):
        type_from_arrow(held)

"""Types: one name, one Arrow type, one place in Feast's enumeration."""

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from likewise.core.errors import InvalidType
from likewise.core.types import (
    SCALARS,
    Array,
    FeatureType,
    Set,
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
        inner.map(Set),
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

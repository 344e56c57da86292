import math
import os
import subprocess
import sys
import uuid
from decimal import Decimal as D

import pytest

from likewise.core.aggregates import ALIASES, FUNCTIONS, Function, aggregate_for, parse_function
from likewise.core.errors import AggregateOverflow, InvalidDefinition, InvalidType
from likewise.core.types import (
    Array,
    Bool,
    Bytes,
    Decimal,
    Float32,
    Float64,
    Int32,
    Int64,
    Map,
    String,
    Struct,
    UnixTimestamp,
    Uuid,
)
from likewise.testing.values import exact

NAN, INF = math.nan, math.inf
HUGE = sys.float_info.max


def result(function, kind, values):
    """What a function makes of values that stand in the order of their ranks."""
    aggregate = aggregate_for(function, kind)
    ranks = [(place, 0, place) for place in range(len(values))]
    return aggregate.finish(aggregate.add_all(aggregate.start(), values, ranks))


def one_by_one(function, kind, values):
    """The same, each value added on its own."""
    aggregate = aggregate_for(function, kind)
    state = aggregate.start()
    for place, value in enumerate(values):
        state = aggregate.add(state, value, (place, 0, place))
    return aggregate.finish(state)


CASES = [
    ("count", Int64, [7, None, 7], 2),
    ("count", Struct({"a": Int64}), [{"a": None}, None], 1),
    ("sum", Int32, [2**31 - 1, 2**31 - 1, None], 2**32 - 2),
    ("sum", Int64, [2**63 - 1, 2**63 - 1, -(2**63) + 1, -(2**63) + 1], 0),
    ("sum", Int64, [-(2**63)], -(2**63)),
    ("sum", Float64, [1e16, 1.0, -1e16], 1.0),
    ("sum", Float64, [1e300, 1e-300, -1e300], 1e-300),
    ("sum", Float64, [0.1] * 10, 1.0),
    ("sum", Float64, [HUGE, HUGE, -HUGE], HUGE),
    ("sum", Float64, [HUGE, HUGE], INF),
    ("sum", Float64, [-HUGE, -HUGE], -INF),
    ("sum", Float64, [-0.0], 0.0),
    ("sum", Float64, [1.0, INF], INF),
    ("sum", Float64, [INF, 1.0, -INF], NAN),
    ("sum", Float64, [1.0, NAN, INF], NAN),
    ("sum", Float32, [0.10000000149011612, None], 0.10000000149011612),
    ("sum", Decimal, [D("0.1"), D("0.2"), D("99999999999999999999.5"), D("-99999999999999999999")], D("0.8")),
    ("mean", Int64, [1, None, 2], 1.5),
    ("mean", Int64, [2**63 - 1, 2**63 - 1], float(2**63)),
    ("mean", Float64, [1e16, 1.0, -1e16, 1.0], 0.5),
    ("mean", Float64, [HUGE, HUGE], HUGE),
    ("mean", Float64, [INF, 1.0], INF),
    ("mean", Decimal, [D("0.1"), D("0.2")], 0.15),
    ("min", Int64, [3, None, 1], 1),
    ("min", String, ["b", "a", "ä"], "a"),
    ("min", Bool, [True, False], False),
    ("min", Decimal, [D("10"), D("9.50")], D("9.5")),
    ("min", UnixTimestamp, [5, -5], -5),
    ("min", Float64, [-0.0], 0.0),
    ("min", Float64, [1.0, NAN], NAN),
    ("max", Float64, [NAN, 1.0], NAN),
    ("max", Float32, [1.5, -INF], 1.5),
    ("max", String, ["\uffff", "\U00010000"], "\U00010000"),
    ("var_samp", Float64, [1e9 + 4, 1e9 + 7, 1e9 + 13, 1e9 + 16], 30.0),
    ("var_samp", Float64, [1e16, 1e16 + 2], 2.0),
    ("var_samp", Float64, [5.0], None),
    ("var_samp", Float64, [NAN], None),
    ("var_samp", Int64, [2**62, 2**62 + 1, 2**62 + 2], 1.0),
    ("var_pop", Float64, [5.0, None], 0.0),
    ("var_pop", Float64, [1.0, INF], NAN),
    ("var_pop", Float64, [HUGE, -HUGE], INF),
    ("var_pop", Decimal, [D("0.1"), D("0.3")], 0.01),
    ("stddev_pop", Float64, [HUGE, -HUGE], HUGE),
    ("stddev_samp", Float64, [HUGE, -HUGE], INF),
    ("stddev_samp", Int64, [1, 3], math.sqrt(2)),
    ("stddev_pop", Float64, [2.0**-1000, 3 * 2.0**-1000], 2.0**-1000),
    ("stddev_pop", Float64, [1e-200, -1e-200], 1e-200),
    ("first", String, [None, "b", "a"], "b"),
    ("last", String, ["b", "a", None], "a"),
    ("last", Array(UnixTimestamp), [[1, None]], [1, None]),
    ("last", Array(Decimal), [[D("1.10"), None]], [D("1.1"), None]),
    ("last", Map, [[("a", "b"), ("c", None)]], [("a", "b"), ("c", None)]),
    ("last", Struct({"a": Decimal}), [{"a": D("1.5")}], {"a": D("1.5")}),
    ("last", Float64, [-0.0], -0.0),
    ("first_n(2)", Int64, [3, None, 1, 2], [3, 1]),
    ("last_n(2)", Int64, [3, 1, None, 2], [1, 2]),
    ("last_n(5)", Int64, [3], [3]),
    ("last_n", Int64, list(range(20)), list(range(10, 20))),
    ("last_distinct_n(2)", String, ["a", "b", "c", "a"], ["c", "a"]),
    ("last_distinct_n(3)", Float64, [NAN, 1.0, -0.0, NAN, 0.0], [1.0, NAN, 0.0]),
    ("last_distinct_n(3)", Decimal, [D("1.10"), D("1.1")], [D("1.1")]),
    ("count_distinct", Float64, [NAN, NAN, 0.0, -0.0, None], 2),
    ("count_distinct", Bool, [True, False, True], 2),
    ("count_distinct", Decimal, [D("1.10"), D("1.1")], 1),
    ("approx_count_distinct", String, ["a", "b", "a"], 2),
    ("approx_count_distinct", Float64, [NAN, NAN, 0.0, -0.0, None], 2),
    ("approx_count_distinct", Bytes, [b"", b"a"], 2),
    ("approx_percentile(0.99)", Int64, [7], 7.0),
    ("approx_percentile(0)", Float64, [3.0, -INF], -INF),
    ("approx_percentile(1)", Float64, [HUGE, 5e-324], HUGE),
    ("approx_percentile", Float64, [3.0, NAN], NAN),
    ("approx_percentile", Float64, [-1.0, -0.0, 1.0], 0.0),
    ("median", Int64, [2**62, 2**62 + 1], float(2**62)),
    ("median", Float64, [4.0, 1.0, 2.0, 3.0], 2.5),
    ("median", Float64, [HUGE, HUGE], HUGE),
    ("median", Float64, [INF, -INF], NAN),
    ("median", Float64, [1.0, INF], INF),
    ("median", Float64, [1.0, 2.0, NAN], NAN),
    ("median", Decimal, [D("0.1"), D("0.2")], 0.15),
    ("top_k(2)", String, ["c", "b", "a", "a"], ["a", "b"]),
    ("top_k(3)", Float64, [NAN, NAN, 2.0, 1.0], [NAN, 1.0, 2.0]),
    ("top_k(1)", UnixTimestamp, [5, 7, 7], [7]),
    ("top_k(2)", Decimal, [D("10"), D("9")], [D("9"), D("10")]),
    ("top_k(1)", Uuid, [str(uuid.UUID(int=1))] * 2, [str(uuid.UUID(int=1))]),
]


@pytest.mark.parametrize(("function", "kind", "values", "expected"), CASES)
def test_what_a_function_makes_of_some_values(function, kind, values, expected):
    """A batch and the same values one by one give the expected result, in the expected type and bits."""
    assert exact(result(function, kind, values)) == exact(expected)
    assert exact(one_by_one(function, kind, values)) == exact(expected)


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("values", [[], [None], [None, None]])
def test_no_values_are_a_count_of_zero_and_else_null(function, values):
    """Over nothing, or only nulls, a count is 0 and every other function null."""
    assert result(function, Int64, values) == (0 if function == "count" else None)


def test_the_rank_decides_which_of_two_is_the_later():
    """Event time comes first, then created time, none being the earliest, then the place in the source."""
    never = -(2**63)
    ranks = [(5, 1, 0), (5, never, 9), (4, 9, 9), (5, 1, 1)]
    last = aggregate_for("last_n(4)", String)
    assert last.finish(last.add_all(last.start(), ["c", "b", "a", "d"], ranks)) == ["a", "b", "c", "d"]


@pytest.mark.parametrize(
    ("kind", "values"),
    [(Int64, [2**63 - 1, 1]), (Int64, [-(2**63), -1]), (Decimal, [D("99999999999999999999"), D(1)])],
)
def test_a_sum_that_its_type_cannot_hold_is_a_named_error(kind, values):
    """A sum beyond Int64 or Decimal raises with the sum, and says what holds more."""
    with pytest.raises(AggregateOverflow, match=r"the sum -?\d+ is beyond .*CAST\(column AS DOUBLE\)"):
        result("sum", kind, values)


@pytest.mark.parametrize(
    ("function", "kind", "message"),
    [
        ("sum", String, r"sum does not take String\. it takes integers, floats, decimals"),
        ("avg", Bool, r"mean does not take Bool"),
        ("min", Array(Int64), r"min does not take Array\(Int64\)\. it takes booleans, integers"),
        ("median", UnixTimestamp, r"median does not take UnixTimestamp"),
        ("top_k(3)", Map, r"top_k\(3\) does not take Map"),
    ],
)
def test_a_type_that_a_function_cannot_take(function, kind, message):
    """A type that makes no sense is refused with the function, the type and what is taken."""
    with pytest.raises(InvalidType, match=message):
        aggregate_for(function, kind)


@pytest.mark.parametrize(
    ("text", "function"),
    [
        ("sum", Function("sum")),
        ("AVG", Function("mean")),
        (" last_n ( 5 ) ", Function("last_n", 5)),
        ("top_k", Function("top_k", 10)),
        ("approx_percentile(.990)", Function("approx_percentile", 0.99)),
        ("approx_percentile(1)", Function("approx_percentile", 1.0)),
        ("approx_percentile(-0.0)", Function("approx_percentile", 0.0)),
    ],
)
def test_how_a_function_may_be_written(text, function):
    """Case, spaces and aliases do not matter, and the canonical text is read as the same function again."""
    assert parse_function(text) == function
    assert parse_function(str(function)) == function
    assert repr(parse_function(text)) == repr(function)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("summ", r"'summ' is not known\. did you mean 'sum'\?"),
        ("", "'' is not known"),
        ("sum(", r"'sum\(' is not known"),
        ("sum(3)", r"'sum\(3\)' takes no number\. write 'sum'"),
        ("last_n(0)", r"last_n\('0'\).*a whole number from 1 to 10000, such as last_n\(10\)"),
        ("last_n(2.5)", r"last_n\('2\.5'\)"),
        ("last_n(x)", r"last_n\('x'\)"),
        ("last_n()", r"last_n\(''\)"),
        ("top_k(10001)", r"top_k\('10001'\)"),
        ("approx_percentile(1.01)", r"a number from 0\.0 to 1\.0"),
        ("approx_percentile(nan)", r"approx_percentile\('nan'\)"),
    ],
)
def test_a_function_that_cannot_be(text, message):
    """An unknown name, a number out of bounds or one too many is refused by name, with the cure."""
    with pytest.raises(InvalidDefinition, match=message):
        parse_function(text)


def test_the_aliases_are_functions():
    """Every alias stands for a function that there is, and is none itself."""
    assert set(ALIASES.values()) <= set(FUNCTIONS)
    assert not set(ALIASES) & set(FUNCTIONS)


@pytest.mark.parametrize("count", [100, 3_000, 20_000, 300_000])
def test_the_approximate_count_is_within_five_standard_errors(count):
    """HyperLogLog with 4,096 registers is off by 1.6 % of the truth, give or take."""
    estimate = result("approx_count_distinct", Int64, list(range(count)))
    assert abs(estimate - count) <= 5 * 1.04 / 64 * count


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.9, 0.99, 1.0])
def test_the_approximate_percentile_is_within_half_a_percent(share):
    """DDSketch is off by at most 0.5 % of the value at the place, over hundreds of orders of magnitude."""
    values = [sign * 1.7**n for n in range(-1000, 1000, 7) for sign in (1, -1)]
    truth = sorted(values)[math.floor(share * (len(values) - 1))]
    assert result(f"approx_percentile({share})", Float64, values) == pytest.approx(truth, rel=0.00500001)


def test_sketches_are_the_same_in_every_process():
    """Another process with another hash seed has the same sketches."""
    code = (
        "from likewise.core.aggregates import aggregate_for as a; from likewise.core.types import String;"
        "h = a('approx_count_distinct', String); print(sorted(h.add_all({}, [str(n) for n in range(300)], []).items()))"
    )
    printed = {
        subprocess.run(
            [sys.executable, "-c", code], env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True, check=True
        ).stdout
        for seed in ("1", "2")
    }
    count = aggregate_for("approx_count_distinct", String)
    state = count.add_all(count.start(), [str(n) for n in range(300)], [])
    assert printed == {f"{sorted(state.items())}{os.linesep}".encode()}


@pytest.mark.parametrize(
    ("kind", "value", "register"),
    [(Int64, 1, 1910), (Float64, 1.0, 3816), (String, "1", 1910), (Bytes, b"\x00", 584), (Bool, True, 1910)],
)
def test_the_hash_of_the_sketches_is_frozen(kind, value, register):
    """Stored registers stay right: the hash of a value may never change."""
    assert aggregate_for("approx_count_distinct", kind).add_all({}, [value], []) == {register: 1}


@pytest.mark.parametrize(
    ("one", "other"),
    [("sum", "mean"), ("var_samp", "stddev_pop"), ("median", "top_k(3)"), ("count_distinct", "top_k")],
)
def test_functions_with_one_kind_of_state_share_it(one, other):
    """A state is kept once for all functions of its kind: each finishes a state that another made."""
    values = [3, 1, 1, 2]
    maker, user = aggregate_for(one, Int64), aggregate_for(other, Int64)
    assert maker.kind == user.kind
    assert user.finish(maker.add_all(maker.start(), values, [])) == result(other, Int64, values)

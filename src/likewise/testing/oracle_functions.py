"""The functions of windows (S6) in plain loops and fractions: what the oracle takes for the truth.

Each function gets the values of a window that are not null, at least one, the oldest first, and the function's number.
A value is an int, float, Decimal, str, bytes, bool or any other plain value; a time is an int of microseconds. Nothing
here is shared with ``core/aggregates``.
"""

from __future__ import annotations

import hashlib
import math
import struct
from collections.abc import Callable
from decimal import Context, Decimal
from fractions import Fraction
from typing import Any

from likewise.core.errors import AggregateOverflow
from likewise.testing.values import decimal_text

Values = list[Any]
"""The values of a window that are not null, the oldest first."""


def answer(function: str, values: Values) -> Any:
    """Return what a function makes of a window's values.

    Args:
        function: its canonical text, such as ``sum`` or ``last_n(5)``.
        values: those that are not null, the oldest first.

    Raises:
        AggregateOverflow: a sum is beyond Int64 or Decimal.

    Example:
        >>> answer("last_n(2)", [1, 2, 3]), answer("count", []), answer("sum", [])
        ([2, 3], 0, None)
    """
    name, _, number = function.partition("(")
    if name == "count":
        return len(values)
    return _FUNCTIONS[name](values, float(number.rstrip(")") or 0)) if values else None


def _sum(values: Values, _: float) -> Any:
    odd = _not_finite(values)
    if odd is not None:
        return odd
    total = _exact_sum(values)
    if isinstance(values[0], float):
        return _rounded(total)
    if isinstance(values[0], int):
        if total < -(2**63) or total >= 2**63:
            raise AggregateOverflow(f"the sum {total} is beyond Int64")
        return int(total)
    if abs(total) >= 10**20:
        raise AggregateOverflow(f"the sum {total} is beyond Decimal")
    return Context(prec=999).divide(Decimal(total.numerator), Decimal(total.denominator))


def _mean(values: Values, _: float) -> float:
    odd = _not_finite(values)
    if odd is not None:
        return odd
    total = _exact_sum(values)
    if isinstance(values[0], float) and math.isfinite(_rounded(total)):
        return _rounded(total) / len(values)
    return _rounded(total / len(values))


def _exact_sum(values: Values) -> Fraction:
    total = Fraction(0)
    for value in values:
        total += Fraction(value)
    return total


def _not_finite(values: Values) -> float | None:
    """NaN for a NaN or for both infinities, an infinity for that one alone, None for none of them."""
    odd = [value for value in values if isinstance(value, float) and not math.isfinite(value)]
    if not odd:
        return None
    return odd[0] if all(value == odd[0] for value in odd) else math.nan


def _rounded(exact: Fraction) -> float:
    try:
        return float(exact)
    except OverflowError:
        return math.inf if exact > 0 else -math.inf


def _spread(free: int, *, root: bool) -> Callable[[Values, float], float | None]:
    def spread(values: Values, _: float) -> float | None:
        if len(values) <= free:
            return None
        if _not_finite(values) is not None:
            return math.nan
        mean = _exact_sum(values) / len(values)
        variance = sum(((Fraction(value) - mean) ** 2 for value in values), Fraction(0)) / (len(values) - free)
        return _square_root(variance) if root else _rounded(variance)

    return spread


def _square_root(exact: Fraction) -> float:
    """The float nearest to the square root: a first guess, moved until no neighbour is nearer."""
    context = Context(prec=50, Emin=-9999, Emax=9999)
    guess = float(context.sqrt(context.divide(Decimal(exact.numerator), Decimal(exact.denominator))))
    while math.isfinite(guess) and _halfway(guess, math.inf) ** 2 < exact:
        guess = math.nextafter(guess, math.inf)
    while math.isfinite(guess) and guess > 0.0 and _halfway(guess, 0.0) ** 2 > exact:
        guess = math.nextafter(guess, 0.0)
    for towards in (0.0, math.inf):  # of two that are equally near, the one whose last digit is even
        if math.isfinite(guess) and _halfway(guess, towards) ** 2 == exact and _last_digit(guess):
            return math.nextafter(guess, towards)
    return guess


def _last_digit(number: float) -> int:
    """The last binary digit of a float."""
    return struct.pack(">d", number)[-1] & 1


def _halfway(number: float, towards: float) -> Fraction:
    neighbour = math.nextafter(number, towards)
    return (Fraction(number) + (Fraction(neighbour) if math.isfinite(neighbour) else Fraction(2) ** 1024)) / 2


def _extreme(*, greatest: bool) -> Callable[[Values, float], Any]:
    def extreme(values: Values, _: float) -> Any:
        best = values[0]
        for value in values:
            if value != value:
                return math.nan
            if (value > best) if greatest else (value < best):
                best = value
        return 0.0 if isinstance(best, float) and best == 0.0 else best

    return extreme


def _same(one: Any, other: Any) -> bool:
    return bool(one == other or (one != one and other != other))


def _plain(value: Any) -> Any:
    """Zero without a sign, as it is among distinct values."""
    return 0.0 if isinstance(value, float) and value == 0.0 else value


def _distinct(values: Values) -> list[tuple[Any, int]]:
    """Each distinct value and how often it occurs, in the order of the first occurrences."""
    found: list[tuple[Any, int]] = []
    for value in values:
        for place, (known, number) in enumerate(found):
            if _same(known, value):
                found[place] = (known, number + 1)
                break
        else:
            found.append((_plain(value), 1))
    return found


def _last_distinct_n(values: Values, number: float) -> Values:
    backwards = [value for value, _ in _distinct(values[::-1])]
    return backwards[: int(number)][::-1]


def _ascending(values: Values) -> Values:
    """The values in their order, NaN after all others."""
    return sorted(value for value in values if value == value) + [value for value in values if value != value]


def _top_k(values: Values, number: float) -> Values:
    pairs = _distinct(_ascending(values))
    return [value for value, _ in sorted(pairs, key=lambda pair: -pair[1])][: int(number)]


def _median(values: Values, _: float) -> float:
    ordered = _ascending(values)
    low, high = ordered[(len(ordered) - 1) // 2], ordered[len(ordered) // 2]
    if ordered[-1] != ordered[-1]:
        return math.nan
    odd = _not_finite([low, high])
    return _rounded((Fraction(low) + Fraction(high)) / 2) if odd is None else odd


def _approx_percentile(values: Values, share: float) -> float:
    """DDSketch with an error of 0.5 %: the middle of the value's bin, between the least and the greatest value."""
    ordered = _ascending([float(value) + 0.0 for value in values])
    if ordered[-1] != ordered[-1]:
        return math.nan
    place = math.floor(share * (len(ordered) - 1))
    exact = middle = ordered[place]
    if 0 < place < len(ordered) - 1 and exact != 0.0 and math.isfinite(exact):
        gamma = 1.005 / 0.995
        power = math.ceil(math.log(abs(exact)) / math.log(gamma)) * math.log(gamma) + math.log(2 / (1 + gamma))
        middle = math.copysign(math.exp(power) if power < 709.78 else math.inf, exact)
    return float(max(ordered[0], min(middle, ordered[-1])))


def _approx_count_distinct(values: Values, _: float) -> int:
    """HyperLogLog with 4,096 registers over 64 bits of BLAKE2b, and the estimate of Ertl (2017) as its series stand."""
    registers = [0] * 4096
    for value, _number in _distinct(values):
        bits = int.from_bytes(hashlib.blake2b(_bytes(value), digest_size=8).digest(), "big")
        text = format(bits, "064b")
        register, others = int(text[52:], 2), text[:52]
        depth = others.index("1") + 1 if "1" in others else 53
        registers[register] = max(registers[register], depth)
    empty, full = registers.count(0) / 4096, 1.0 - registers.count(53) / 4096
    total: float = empty + sum(empty ** (2**k) * 2.0 ** (k - 1) for k in range(1, 40))
    total += sum(registers.count(depth) / 4096 * 2.0**-depth for depth in range(1, 53))
    tau: float = (1.0 - full - sum((1.0 - full ** (2.0**-k)) ** 2 * 2.0**-k for k in range(1, 60))) / 3.0
    return round(4096 / (2.0 * math.log(2.0) * (total + tau * 2.0**-52)))


def _bytes(value: Any) -> bytes:
    match value:
        case int():
            return str(int(value)).encode()
        case float():
            return struct.pack(">d", value if value == value else math.nan)
        case Decimal():
            return decimal_text(value).encode()
        case str():
            return value.encode()
    return bytes(value)


_FUNCTIONS: dict[str, Callable[[Values, float], Any]] = {
    "sum": _sum,
    "mean": _mean,
    "min": _extreme(greatest=False),
    "max": _extreme(greatest=True),
    "var_samp": _spread(1, root=False),
    "var_pop": _spread(0, root=False),
    "stddev_samp": _spread(1, root=True),
    "stddev_pop": _spread(0, root=True),
    "first": lambda values, _: values[0],
    "last": lambda values, _: values[-1],
    "first_n": lambda values, number: values[: int(number)],
    "last_n": lambda values, number: values[-int(number) :],
    "last_distinct_n": _last_distinct_n,
    "count_distinct": lambda values, _: len(_distinct(values)),
    "approx_count_distinct": _approx_count_distinct,
    "approx_percentile": _approx_percentile,
    "median": _median,
    "top_k": _top_k,
}

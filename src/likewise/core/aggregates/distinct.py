"""Distinct values: how many there are, exactly or by a sketch of at most 4 KB."""

from __future__ import annotations

import math
import struct
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from typing import Any

from likewise.core.aggregates.base import Aggregate, Rank, Value
from likewise.core.aggregates.counts import SCALAR
from likewise.core.aggregates.tally import Tallied, Tally, keyer
from likewise.core.types import Family, FeatureType, Int64

Registers = dict[int, int] | bytes
"""The state of a sketch: register to its content while few are filled, then all 4,096 as bytes."""

_BITS = 12
_REGISTERS = 1 << _BITS
_DEEPEST = 64 - _BITS
_FEW = 512
"""How many filled registers are kept one by one."""


class CountDistinct(Tallied):
    """The exact number of distinct values; NaN equals NaN, and -0.0 equals 0.0.

    Example:
        >>> count = CountDistinct(Int64)
        >>> count.finish(count.add_all(count.start(), [7, None, 7, 8], []))
        2
    """

    name = "count_distinct"

    def output_type(self) -> FeatureType:
        """Return Int64."""
        return Int64

    def finish(self, state: Tally) -> int | None:
        """Return how many keys the tally has."""
        return len(state) or None


class ApproxCountDistinct(Aggregate):
    """The number of distinct values, with a standard error of 1.6 %: HyperLogLog with 4,096 registers.

    P. Flajolet, É. Fusy, O. Gandouet and F. Meunier, "HyperLogLog: the analysis of a near-optimal cardinality
    estimation algorithm", 2007; the estimate, which is unbiased for small numbers too, is that of O. Ertl, "New
    cardinality estimation algorithms for HyperLogLog sketches", 2017. The hash is BLAKE2b, the same in every process.

    Example:
        >>> count = ApproxCountDistinct(Int64)
        >>> count.finish(count.add_all(count.start(), list(range(1000)) * 2, []))
        999
    """

    name = "approx_count_distinct"
    takes = SCALAR

    def __init__(self, input: FeatureType, parameter: int | float | None = None) -> None:
        super().__init__(input, parameter)
        self._key, self._bytes = keyer(input), _bytes_of(input.family)

    def output_type(self) -> FeatureType:
        """Return Int64."""
        return Int64

    def start(self) -> Registers:
        """Return empty registers."""
        return {}

    def add(self, state: Registers, value: Value, rank: Rank) -> Registers:
        """Note one value."""
        return self.add_all(state, (value,), ())

    def add_all(self, state: Registers, values: Sequence[Value], ranks: Sequence[Rank]) -> Registers:
        """Note many values, each distinct one once."""
        known = {self._key(value) for value in values if value is not None}
        return _filled(state, map(_place, self._hashes(known)))

    def merge(self, a: Registers, b: Registers) -> Registers:
        """Take the greater content of each register."""
        return self.merge_all((a, b))

    def merge_all(self, states: Iterable[Registers]) -> Registers:
        """Take the greatest content of each register."""
        states = list(states)
        dense = [state for state in states if isinstance(state, bytes)]
        sparse = [state.items() for state in states if isinstance(state, dict)]
        whole: Registers = {} if not dense else dense[0] if len(dense) == 1 else bytes(map(max, *dense))
        return _filled(whole, chain.from_iterable(sparse))

    def finish(self, state: Registers) -> int | None:
        """Return the estimate, as a whole number."""
        if not state:
            return None
        contents = state if isinstance(state, bytes) else state.values()
        depths = Counter(contents)
        depths[0] += _REGISTERS - len(contents)
        return round(_estimate(depths))

    def _hashes(self, keys: Iterable[Any]) -> Iterable[int]:
        from hashlib import blake2b

        for key in keys:
            yield int.from_bytes(blake2b(self._bytes(key), digest_size=8).digest(), "big")


def _filled(state: Registers, places: Iterable[tuple[int, int]]) -> Registers:
    """The registers with the greater of their contents and these; a dict changes in place."""
    if isinstance(state, dict):
        for register, depth in places:
            if depth > state.get(register, 0):
                state[register] = depth
        return state if len(state) <= _FEW else _filled(bytes(_REGISTERS), state.items())
    registers = bytearray(state)
    for register, depth in places:
        if depth > registers[register]:
            registers[register] = depth
    return bytes(registers)


def _bytes_of(family: Family) -> Callable[[Any], bytes]:
    """What turns a key of this family into the bytes that are hashed."""
    match family:
        case Family.BOOL | Family.INT | Family.TIME:
            return lambda key: b"%d" % key
        case Family.FLOAT:
            return lambda key: struct.pack(">d", math.nan if key is None else key)
        case Family.BYTES:
            return bytes
        case _:
            return str.encode


def _place(bits: int) -> tuple[int, int]:
    """The register of a hash, its low bits, and what it puts there: the place of the first 1 in the others."""
    return bits & (_REGISTERS - 1), _DEEPEST + 1 - (bits >> _BITS).bit_length()


def _estimate(depths: Counter[int]) -> float:
    """Ertl's improved raw estimate, from how many registers have each content."""
    total = _REGISTERS * _tau(1.0 - depths[_DEEPEST + 1] / _REGISTERS)
    for depth in range(_DEEPEST, 0, -1):
        total = 0.5 * (total + depths[depth])
    total += _REGISTERS * _sigma(depths[0] / _REGISTERS)
    return _REGISTERS * _REGISTERS / (2.0 * math.log(2.0) * total)


def _sigma(share: float) -> float:
    if share == 1.0:
        return math.inf
    power, weight, total, before = share, 1.0, share, -1.0
    while total != before:
        power *= power
        before, total = total, total + power * weight
        weight += weight
    return total


def _tau(share: float) -> float:
    if share in (0.0, 1.0):
        return 0.0
    root, weight, total, before = share, 1.0, 1.0 - share, -1.0
    while total != before:
        root = math.sqrt(root)
        weight *= 0.5
        before, total = total, total - (1.0 - root) ** 2 * weight
    return total / 3.0

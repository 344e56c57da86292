"""What the tests of on-demand functions share: making a runner in one line, and comparing values to the bit."""

import struct

import pyarrow as pa
import pytest

from likewise.core.types import arrow_type
from likewise.define.field import Field
from likewise.define.source import RequestSource
from likewise.define.transform import OnDemandFeatureView
from likewise.transform.ondemand import OnDemandRunner


@pytest.fixture(scope="session")
def runner():
    """Make a runner of a function: runner(function, {"a": Int64}, {"b": Int64}, mode="python")."""

    def make(function, inputs, outputs, mode="pandas", singleton=False):
        request = RequestSource("request", schema=[Field(name, declared) for name, declared in inputs.items()])
        schema = [Field(name, declared) for name, declared in outputs.items()]
        view = OnDemandFeatureView("rates", [request], schema, function, mode, singleton=singleton)
        assert view.problems == []
        return OnDemandRunner(view, function, list(inputs.items()))

    return make


@pytest.fixture(scope="session")
def arrow():
    """Make the Arrow columns of Python columns: arrow({"a": Int64}, {"a": [1, None]})."""

    def make(types, columns):
        return {name: pa.array(columns[name], arrow_type(declared)) for name, declared in types.items()}

    return make


@pytest.fixture(scope="session")
def bits():
    """Return values in a form that is equal only if type and bits are, NaN being one value."""

    def of(value):
        if isinstance(value, float):
            return "nan" if value != value else struct.pack(">d", value)
        if isinstance(value, list):
            return [of(item) for item in value]
        if isinstance(value, dict):
            return {key: of(item) for key, item in value.items()}
        return type(value).__name__, value

    return of

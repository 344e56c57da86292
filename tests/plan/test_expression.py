"""Expressions: what windows may read of an event, and what they may not."""

from datetime import datetime

import duckdb
import pytest

from likewise.core.errors import InvalidDefinition
from likewise.plan.expression import FUNCTIONS, UNSTEADY, WORDS, parse_expression

KEPT = {
    "amount": '"amount"',
    "amount*2": '"amount"*2',
    "amount  *\n 2": '"amount" * 2',
    "amount -- the price\n + 1": '"amount" + 1',
    "amount /* cents */ / 100": '"amount" / 100',
    "\"odd name\" || 'it''s'": "\"odd name\" || 'it''s'",
    '"with ""quotes"""': '"with ""quotes"""',
    "log10(amount)": 'log10("amount")',
    "date_trunc('day', at)": "date_trunc('day', \"at\")",
    "extract(hour from at)": 'extract(hour from "at")',
    "at + interval 1 hour": '"at" + interval 1 hour',
    "cast(amount as decimal(10, 2))": 'cast("amount" as decimal(10, 2))',
    "amount::double": '"amount"::double',
    "case when kind = 'buy' then amount else -amount end": (
        'case when "kind" = \'buy\' then "amount" else -"amount" end'
    ),
    "kind in ('buy', 'sell') and not refused": "\"kind\" in ('buy', 'sell') and not \"refused\"",
    "lower(kind) like 'b%'": "lower(\"kind\") like 'b%'",
    "amount is not distinct from fee": '"amount" is not distinct from "fee"',
    "parts[1]": '"parts"[1]',
    "list_max(parts)": 'list_max("parts")',
    "date > timestamp '2024-01-01'": "\"date\" > timestamp '2024-01-01'",
    "user + first + end": '"user" + "first" + "end"',
    "left + left(kind, 1)": '"left" + left("kind", 1)',
}
REFUSED = {
    "random()": "not deterministic",
    '"random"()': "not deterministic",
    "now()": "not deterministic",
    "amount + current_date": "not deterministic",
    "today()": "not deterministic",
    "uuid()": "not deterministic",
    "current_localtimestamp()": "not deterministic",
    "(select 1)": "holds a query",
    "amount in (select 1)": "holds a query",
    "exists(select 1)": "holds a query",
    "from rows": "holds a query",
    "sum(amount)": "aggregates rows",
    "sum(amount) over ()": "aggregates rows",
    "count(*)": "aggregates rows",
    "count(amount) filter (where refused)": "aggregates rows",
    "fsum(amount)": "calls 'fsum'",
    "summ(amount)": "calls 'summ'",
    "rond(amount)": "did you mean 'round'",
    "query('select 1')": "calls 'query'",
    "read_text('/etc/passwd')": "calls 'read_text'",
    "getenv('HOME')": "not deterministic",
    "main.random()": "cannot be used here",
    "amount.abs()": "cannot be used here",
    "*": "names all columns",
    "columns(*)": "names all columns",
    "rows.amount": "write struct_extract(rows, 'amount')",
    "list_transform(parts, x -> x + 1)": "holds a lambda",
    "amount as price": "gives a name with AS",
    "$1": "a parameter",
    "?": "a parameter",
    "#1": "a parameter",
    "@amount": "cannot be used here",
    "amount; drop table rows": "not one SQL expression",
    "amount::timestamptz": "'timestamptz', which cannot be used here",
    "e'\\n'": "cannot be used here",
    "$$now()$$": "cannot be used here",
    "'a\\' || random() || '": "does not parse",
    "": "not one SQL expression",
    "-- nothing": "not one SQL expression",
    "amount >": "does not parse",
    "(amount": "does not parse",
    "(" * 5000 + "amount": "does not parse",
}


@pytest.mark.parametrize("sql", KEPT)
def test_an_expression_keeps_its_words_and_quotes_its_columns(sql: str) -> None:
    """The text is what was written, without comments; a new parser would change no stored hash."""
    assert parse_expression(sql).sql == KEPT[sql]


@pytest.mark.parametrize("sql", REFUSED)
def test_what_is_no_function_of_one_event_is_refused(sql: str) -> None:
    """Chance, the clock, other rows, files and whatever is not known by name: each with its reason."""
    with pytest.raises(InvalidDefinition) as refused:
        parse_expression(sql)
    assert REFUSED[sql] in str(refused.value)
    assert len(str(refused.value)) < 400


def test_the_columns_that_are_read_are_told() -> None:
    """Each once, sorted; words, functions and texts are no columns."""
    assert parse_expression("amount * rate - amount + length('fee')").columns == ("amount", "rate")
    assert parse_expression("1 + pi()").columns == ()


COMPUTED = {
    "amount // 2": 1,
    "amount / 2": 1.5,
    "-amount ** 2": 9,
    "2 ** 3 ** 2": 64,
    "log(amount * 100 / 3)": 2,
    "at + interval 1 day": datetime(2024, 1, 3, 3, 4, 5),
    "extract(hour from at) + hour(at)": 6,
    "date_trunc('hour', at)": datetime(2024, 1, 2, 3),
    "case when kind = 'buy' then amount end": 3,
    "kind || '''s' || ' ' || end": "buy's z",
    "parts[2] + list_max(parts)": 4,
    "null is not distinct from amount": False,
}
"""Expressions to what they are of the one event below."""


@pytest.mark.parametrize("sql", COMPUTED)
def test_duckdb_computes_what_is_kept(sql: str) -> None:
    """Operators bind as in DuckDB, whose own reading it is; columns may have the names of its words."""
    event = (
        "SELECT 3 AS amount, 'buy' AS kind, TIMESTAMP '2024-01-02 03:04:05' AS \"at\", [1, 2] AS parts, 'z' AS \"end\""
    )
    assert duckdb.execute(f"SELECT ({parse_expression(sql).sql}) FROM ({event})").fetchall() == [(COMPUTED[sql],)]


def test_only_functions_that_duckdb_calls_steady_are_allowed() -> None:
    """Each is a scalar function or macro of DuckDB, and none is volatile, or another within another query."""
    rows = duckdb.execute("SELECT function_name, function_type, stability FROM duckdb_functions()").fetchall()
    kinds: dict[str, set[tuple[str, str | None]]] = {}
    for name, kind, stability in rows:
        kinds.setdefault(name, set()).add((kind, stability))
    syntax = {"coalesce", "ifnull"}  # DuckDB's parser knows these itself
    assert FUNCTIONS - syntax <= kinds.keys()
    for name in FUNCTIONS - syntax:
        found = {(kind, stability) for kind, stability in kinds[name] if kind not in ("table", "pragma")}
        assert found <= {("scalar", "CONSISTENT"), ("macro", None)}, name
    unsteady = {
        name for name, found in kinds.items() if any(s in ("VOLATILE", "CONSISTENT_WITHIN_QUERY") for _, s in found)
    }
    assert not FUNCTIONS & (unsteady | UNSTEADY)
    assert not WORDS & (unsteady | UNSTEADY)

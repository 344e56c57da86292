"""Expression: an SQL expression over an event's columns, parsed once and written anew for every engine (S5).

What may stand in it is a table of words and functions, so that nothing in it can depend on the time, on chance, on
other rows or on anything but the event. The text is kept as it was written, but for comments and for the names of
columns, which are put into double quotes: a new version of the parser changes no stored hash.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from likewise.core.errors import InvalidDefinition
from likewise.core.names import near_misses

if TYPE_CHECKING:
    from sqlglot import exp
    from sqlglot.tokenizer_core import Token


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


FUNCTIONS = _set(
    """
    abs acos acosh asin asinh atan atan2 atanh bit_count cbrt ceil ceiling cos cosh cot degrees even exp factorial floor
    fmod gamma gcd greatest isfinite isinf isnan lcm least lgamma ln log log10 log2 mod pi pow power radians round
    round_even sign sin sinh sqrt tan tanh trunc xor
    coalesce if ifnull nullif
    ascii bar base64 chr concat concat_ws contains damerau_levenshtein ends_with from_base64 from_hex hamming
    hex instr jaccard jaro_similarity jaro_winkler_similarity left len length levenshtein lower lpad ltrim md5
    nfc_normalize ord prefix regexp_escape regexp_extract regexp_extract_all regexp_full_match regexp_matches
    regexp_replace regexp_split_to_array repeat replace reverse right rpad rtrim sha1 sha256 split split_part
    starts_with str_split string_split strip_accents strlen strpos substr substring suffix to_hex translate trim unhex
    unicode upper url_decode url_encode
    century date_diff date_part date_sub date_trunc datediff datepart datesub datetrunc day dayname dayofmonth dayofweek
    dayofyear decade epoch epoch_ms epoch_ns epoch_us era hour isodow isoyear last_day make_date make_timestamp
    microsecond millennium millisecond minute month monthname quarter second strftime strptime time_bucket try_strptime
    week weekday weekofyear year yearweek to_days to_hours to_microseconds to_milliseconds to_minutes to_months
    to_seconds to_weeks to_years
    array_contains array_length flatten list_concat list_contains list_extract list_has_all list_has_any
    list_max list_min list_position list_slice list_sort list_sum list_unique
    json_array_length json_contains json_exists json_extract_string json_keys json_type json_valid json_value
    map_contains map_extract map_keys map_values struct_extract
    """
)
"""The functions that an expression may call: what they return depends on nothing but their arguments."""
UNSTEADY = _set(
    """
    ago current_connection_id current_database current_date current_localtime current_localtimestamp current_query
    current_query_id current_role current_schema current_setting current_time current_timestamp current_transaction_id
    current_user gen_random_uuid get_current_time get_current_timestamp getenv getvariable localtime localtimestamp
    nextval now random session_user setseed today transaction_timestamp txid_current uuid uuidv4 uuidv7
    """
)
"""Functions that return something else each time, or for each user."""
WORDS = _set(
    """
    and or not is null true false case when then else end in between like ilike escape glob distinct from as
    cast try_cast extract interval date timestamp
    microsecond microseconds millisecond milliseconds second seconds minute minutes hour hours day days week weeks
    month months quarter quarters year years decade century dow isodow doy epoch isoyear
    tinyint smallint int integer bigint hugeint float real double decimal numeric varchar text string bool boolean blob
    int1 int2 int4 int8 int32 int64 float4 float8
    """
)
"""The words that may stand in an expression, besides names of columns and functions."""
_CALLS = _set("and or not in when then else case between like ilike distinct cast try_cast extract as from")
_CALLS_OF_TYPES = _set("decimal numeric varchar")
SYMBOLS = _set("+ - * / // % ^ ** ( ) [ ] : , = == != <> < <= > >= || :: ->> & | << >> ~ !~")
"""The signs that may stand in an expression."""
_WORD = re.compile(r"[^\W\d]\w*")
_PLACE = "an SQL expression here is over the columns of one event"
_SUCH = "write one in DuckDB's SQL, such as amount * 2; put odd names into double quotes"
_SHOWN = 100


@dataclass(frozen=True, slots=True)
class Expression:
    """An SQL expression that is in order."""

    sql: str
    """The text: DuckDB's SQL, each column's name in double quotes, without comments."""
    columns: tuple[str, ...]
    """The columns that it reads, sorted."""


@lru_cache(maxsize=1024)
def parse_expression(sql: str) -> Expression:
    """Parse an SQL expression over an event's columns.

    Args:
        sql: the expression, in DuckDB's SQL; every name that is no function is a column's, letter for letter.

    Raises:
        InvalidDefinition: it does not parse, or holds what could give another value another time: a function of the
            time or of chance, a query, a function of several rows.

    Example:
        >>> parse_expression("amount * rate")
        Expression(sql='"amount" * "rate"', columns=('amount', 'rate'))
    """
    tokens, tree = _read(sql)
    _refuse_other_rows(sql, tree)
    named = {_start(column): _name(sql, column) for column in _columns(tree)}
    text = "".join(_written(sql, tokens, named))
    return Expression(text, tuple(sorted(set(named.values()))))


def quoted(name: str) -> str:
    """Return a name as SQL writes it, whatever letters it has.

    Example:
        >>> print(quoted('5" disks'))
        "5"" disks"
    """
    return '"' + name.replace('"', '""') + '"'


def _read(sql: str) -> tuple[list[Token], exp.Expr]:
    """Return the tokens of an expression, and its tree."""
    from sqlglot.dialects.dialect import Dialect
    from sqlglot.errors import ParseError, TokenError

    dialect = Dialect.get_or_raise("duckdb")
    try:
        tokens = list(dialect.tokenize(sql))
        trees = [tree for tree in dialect.parser().parse(tokens, sql) if tree is not None]
    except (ParseError, TokenError, RecursionError) as error:
        raise InvalidDefinition(f"{_short(sql)} does not parse as SQL", cure=_SUCH) from error
    if len(trees) != 1:
        raise InvalidDefinition(f"{_short(sql)} is not one SQL expression", cure=_SUCH)
    return tokens, trees[0]


def _short(sql: str) -> str:
    return repr(sql if len(sql) <= _SHOWN else sql[:_SHOWN] + "…")


def _refuse_other_rows(sql: str, tree: exp.Expr) -> None:
    """Refuse what is no expression over the columns of one event."""
    from sqlglot import exp

    refused: tuple[tuple[tuple[type[exp.Expr], ...], str], ...] = (
        ((exp.Query, exp.Subquery, exp.Exists), "it holds a query"),
        ((exp.Window, exp.AggFunc, exp.Filter, exp.WithinGroup), "it aggregates rows, which is what function= is for"),
        ((exp.Star, exp.Columns), "it names all columns"),
        ((exp.Lambda,), "it holds a lambda"),
        ((exp.Alias,), "it gives a name with AS"),
        ((exp.Placeholder, exp.Parameter, exp.PositionalColumn), "it has a parameter"),
    )
    for kinds, what in refused:
        for found in tree.find_all(*kinds):
            if not _is_allowed_call(found):
                raise InvalidDefinition(f"{_short(sql)} is not over one event's columns: {what}", cure=_PLACE)


def _is_allowed_call(found: exp.Expr) -> bool:
    """Tell whether what the parser takes for an aggregate is a function of one row, such as ``list_max``."""
    return re.split(r"\W", found.sql("duckdb"), maxsplit=1)[0].lower() in FUNCTIONS


def _columns(tree: exp.Expr) -> Iterator[exp.Column]:
    from sqlglot import exp

    yield from tree.find_all(exp.Column)


def _start(column: exp.Column) -> int:
    place: int = column.this.meta["start"]
    return place


def _name(sql: str, column: exp.Column) -> str:
    if column.table:
        what = f"{_short(sql)} names {column.name!r} of {column.table!r}; an event's columns have no table"
        raise InvalidDefinition(
            what, cure=f"write struct_extract({column.table}, '{column.name}') for a part of a column"
        )
    return column.name


def _written(sql: str, tokens: list[Token], named: dict[int, str]) -> Iterator[str]:
    """Return the pieces of the canonical text; refuse words, functions and signs that are not in the tables."""
    end = -1
    for place, token in enumerate(tokens):
        if 0 <= end < token.start - 1:
            yield " "
        end = token.end
        calls = place + 1 < len(tokens) and tokens[place + 1].text == "("
        if token.start in named and not calls:
            yield quoted(named[token.start])
        else:
            yield _allowed(sql, token, calls)


def _allowed(sql: str, token: Token, calls: bool) -> str:
    text, kind = sql[token.start : token.end + 1], token.token_type.name
    if kind in ("STRING", "NUMBER") or text in SYMBOLS:
        return text
    word = token.text.lower()
    if word in UNSTEADY:
        what = f"{_short(sql)} is not deterministic: {word!r} gives another value each time"
        raise InvalidDefinition(what, cure="use the event's columns; the window is taken at the time asked for anyway")
    if calls and (_WORD.fullmatch(word) or kind == "IDENTIFIER"):
        if kind != "IDENTIFIER" and word in FUNCTIONS | _CALLS | _CALLS_OF_TYPES:
            return text
        raise InvalidDefinition(
            f"{_short(sql)} calls {token.text!r}, which cannot be used here", cure=near_misses(word, FUNCTIONS)
        )
    if word in WORDS:
        return text
    raise InvalidDefinition(f"{_short(sql)} holds {text!r}, which cannot be used here", cure=_PLACE)

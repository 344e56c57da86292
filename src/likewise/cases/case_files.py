"""CaseFiles: the cases that a repo's files hold, in the folder ``cases``: YAML (plain data only) and Python.

Everything that is wrong with the files is found before any case is run, each with its file and line.
"""

from __future__ import annotations

import runpy
import sys
import traceback
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from likewise.cases.case import Approx, Case, Expect
from likewise.core.errors import LikewiseError, Problem, RepoProblems, RequestError
from likewise.core.names import near_misses
from likewise.core.time import to_micros
from likewise.core.yaml_text import LARGEST, YamlFault, YamlLines, read_yaml
from likewise.define.definition import Origin
from likewise.define.feast import feast_alias

FOLDER = "cases"
"""The folder of a repo that holds its cases."""
ENDINGS = (".yaml", ".yml", ".py")
"""Endings of files that hold cases."""
_EXAMPLE = "cases: [{name: …, features: [view:feature], rows: {source: […]}, expect: [{at: …, key: {…}, values: {…}}]}]"
_APPROX = frozenset({"approx", "within"})


def read_cases(repo: Path, given: Sequence[Path] = ()) -> list[Case]:
    """Return the cases of a repo, in the order of files and lines.

    Args:
        repo: the repo's folder.
        given: files, or folders of files, to read instead of the repo's folder ``cases``.

    Raises:
        RequestError: there is no such file, or there are no cases.
        RepoProblems: something in the files is wrong; all of it is listed.
    """
    found = [(file, _read(file, repo)) for file in _files(repo, given)]
    problems = [problem for _, read in found for problem in read.problems]
    if problems:
        raise RepoProblems(problems, "nothing was tested")
    cases = [case for _, read in found for case in read.cases]
    if not cases:
        where = ", ".join(str(path) for path in given) or str(repo / FOLDER)
        raise RequestError(f"there are no cases in {where}", cure=f"write some into {FOLDER}/*.yaml: {_EXAMPLE}")
    return cases


def _files(repo: Path, given: Sequence[Path]) -> list[Path]:
    found: list[Path] = []
    for path in given or [repo / FOLDER]:
        if path.is_file():
            if path.suffix not in ENDINGS:
                raise RequestError(
                    f"{path} is no file of cases", cure=f"give a file that ends with {', '.join(ENDINGS)}"
                )
            found.append(path)
        elif path.is_dir():
            below = (file for file in path.rglob("*") if file.suffix in ENDINGS and file.is_file())
            found.extend(sorted(file for file in below if not _is_hidden(file.relative_to(path))))
        elif given:
            raise RequestError(f"there is no {path}", cure="give a file of cases, or a folder of such files")
    return list(dict.fromkeys(found))


def _is_hidden(path: Path) -> bool:
    return any(part.startswith((".", "_")) for part in path.parts)


@dataclass(slots=True)
class _Found:
    """What a file holds, and what is wrong with it."""

    file: str
    cases: list[Case] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    def wrong(self, what: str, cure: str, line: int) -> None:
        self.problems.append(Problem(what, cure, self.file, line))


def _read(path: Path, repo: Path) -> _Found:
    shown = path.resolve()
    found = _Found(str(shown.relative_to(repo)) if shown.is_relative_to(repo) else str(path))
    if path.suffix == ".py":
        _read_python(path, repo, found)
    else:
        _read_yaml(path, found)
    for case in found.cases:
        _check(case, found)
    return found


def _check(case: Case, found: _Found) -> None:
    """Find what is wrong with a case whatever the definitions are."""
    if not case.expect:
        found.wrong(f"case {case.name!r} expects nothing", "write what is expected", case.origin.line)
    if not case.features or isinstance(case.features, str):
        found.wrong(f"case {case.name!r} asks for no features", "write features: [view:feature]", case.origin.line)
    for expect in case.expect:
        shape = [set(expect.key), set(expect.request)]
        if shape != [set(case.expect[0].key), set(case.expect[0].request)]:
            what = f"case {case.name!r} has keys or requests of different columns"
            found.wrong(what, "make two cases of it", expect.origin.line)
        if not expect.values:
            found.wrong(f"case {case.name!r} expects no values here", "write values: {feature: 1}", expect.origin.line)
        try:
            to_micros(expect.at, "at")
        except LikewiseError as error:
            found.wrong(error.message, error.cure, expect.origin.line)


# Python


def _read_python(path: Path, repo: Path, found: _Found) -> None:
    """Run a file, and take the cases that it holds under any name, also in lists."""
    try:
        with _importable(repo), feast_alias():
            values = runpy.run_path(str(path)).values()
    except (Exception, SystemExit) as error:  # noqa: BLE001 - a user's file may raise anything; all are listed
        frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
        line = error.lineno if isinstance(error, SyntaxError) else frames[-1].lineno if frames else 0
        found.wrong(f"running it fails with {type(error).__name__}: {error}", "correct the line", line or 0)
        return
    cases = {id(case): case for value in values for case in _cases_in(value)}
    own = (replace(case, origin=Origin(found.file, case.origin.line)) for case in cases.values())
    found.cases = sorted(own, key=lambda case: case.origin.line)
    for case in found.cases:
        if not all(isinstance(expect, Expect) for expect in case.expect):
            found.wrong(f"case {case.name!r} expects what is no Expect", "write expect=[Expect(…)]", case.origin.line)
            found.cases = []


def _cases_in(value: object) -> Iterator[Case]:
    if isinstance(value, Case):
        yield value
    elif isinstance(value, list | tuple):
        yield from (case for case in value if isinstance(case, Case))


@contextmanager
def _importable(repo: Path) -> Iterator[None]:
    """Let modules of the repo be imported by their names."""
    sys.path.insert(0, str(repo))
    try:
        yield
    finally:
        sys.path.remove(str(repo))


# YAML


class _Misfit(Exception):
    """Something in a file that cannot be, and the keys and places that lead to it."""

    def __init__(self, path: Sequence[str | int], what: str, cure: str) -> None:
        super().__init__(what)
        self.path = path
        self.what = what
        self.cure = cure


def _read_yaml(path: Path, found: _Found) -> None:
    try:
        with path.open(encoding="utf-8") as file:
            text = file.read(LARGEST + 1)
        data = read_yaml(text)
    except YamlFault as fault:
        found.wrong(f"the file {fault.what}", fault.cure, fault.line)
        return
    except (OSError, UnicodeDecodeError) as error:
        found.wrong(f"the file cannot be read: {error}", "it must be a text file in UTF-8", 0)
        return
    lines = _Lines(found.file, YamlLines(text))
    try:
        listed = _list(_keys(data, (), ["cases"], ["cases"])["cases"], ("cases",), "cases")
    except _Misfit as misfit:
        found.wrong(misfit.what, misfit.cure, lines.line(misfit.path))
        return
    for number, given in enumerate(listed):
        try:
            found.cases.append(_case(given, ("cases", number), lines))
        except _Misfit as misfit:
            found.wrong(misfit.what, misfit.cure, lines.line(misfit.path))


@dataclass(frozen=True, slots=True)
class _Lines:
    file: str
    lines: YamlLines

    def line(self, path: Sequence[str | int]) -> int:
        return self.lines.of(path)

    def origin(self, path: Sequence[str | int]) -> Origin:
        return Origin(self.file, self.line(path))


_Path = tuple[str | int, ...]


def _case(given: Any, path: _Path, lines: _Lines) -> Case:
    allowed = ["name", "features", "rows", "expect", "known_by"]
    data = _keys(given, path, allowed, ["name", "features", "expect"])
    features = [data["features"]] if isinstance(data["features"], str) else data["features"]
    known_by = data.get("known_by", False)
    if not isinstance(known_by, bool):
        raise _Misfit((*path, "known_by"), f"known_by is {known_by!r}", "write true or false")
    expected = _list(data["expect"], (*path, "expect"), "expect")
    return Case(
        str(data["name"]),
        [
            _text(each, (*path, "features", n))
            for n, each in enumerate(_list(features, (*path, "features"), "features"))
        ],
        _rows(data.get("rows") or {}, (*path, "rows")),
        [_expect(each, (*path, "expect", number), lines) for number, each in enumerate(expected)],
        known_by,
        lines.origin(path),
    )


def _rows(given: Any, path: _Path) -> dict[str, list[dict[str, Any]]]:
    found = {}
    for source, rows in _mapping(given, path, "rows").items():
        listed = _list(rows or [], (*path, source), f"rows of {source!r}")
        found[source] = [_mapping(row, (*path, source, number), "a row") for number, row in enumerate(listed)]
    return found


def _expect(given: Any, path: _Path, lines: _Lines) -> Expect:
    data = _keys(given, path, ["at", "key", "values", "request"], ["at", "values"])
    values = _mapping(data["values"], (*path, "values"), "values")
    return Expect(
        data["at"],
        _mapping(data.get("key") or {}, (*path, "key"), "key"),
        {name: _value(value, (*path, "values", name)) for name, value in values.items()},
        _mapping(data.get("request") or {}, (*path, "request"), "request"),
        lines.origin(path),
    )


def _value(given: Any, path: _Path) -> Any:
    """Return an expected value; a mapping of just ``approx`` and ``within`` is a number that need only be near."""
    if not isinstance(given, dict) or "approx" not in given or not given.keys() <= _APPROX:
        return given
    within = given.get("within")
    wanted = given["approx"] if isinstance(given["approx"], list) else [given["approx"]]
    bad = [each for each in (*wanted, 0 if within is None else within) if not _is_number(each)]
    if bad or (within is not None and not within >= 0):
        what = f"{bad[0]!r} is no number" if bad else f"within: {within!r} is less than zero"
        raise _Misfit(path, what, "write {approx: 3.33, within: 0.01}")
    return Approx(given["approx"], within)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _keys(given: Any, path: _Path, allowed: Sequence[str], needed: Iterable[str]) -> dict[str, Any]:
    data = _mapping(given, path, str(path[0]) if path else "the file")
    for key in data:
        if key not in allowed:
            raise _Misfit((*path, key), f"there is no key {key!r}", near_misses(key, allowed))
    for key in needed:
        if key not in data:
            raise _Misfit(path, f"the key {key!r} is missing", f"write it: {_EXAMPLE}")
    return data


def _mapping(given: Any, path: _Path, what: str) -> dict[str, Any]:
    if not isinstance(given, Mapping):
        raise _Misfit(path, f"{what} is {_said(given)}, no mapping", f"write keys and values: {_EXAMPLE}")
    for key in given:
        if not isinstance(key, str):
            raise _Misfit(path, f"the key {key!r} is no text", f"write it in quotes: '{key}'")
    return dict(given)


def _list(given: Any, path: _Path, what: str) -> list[Any]:
    if not isinstance(given, list) or (not given and path[-1] != "rows" and what in ("cases", "expect", "features")):
        raise _Misfit(path, f"{what} is {_said(given)}, no list with something in it", f"write a list: {_EXAMPLE}")
    return given


def _text(given: Any, path: _Path) -> str:
    if not isinstance(given, str):
        raise _Misfit(path, f"{_said(given)} is no feature", "write view:feature, or the name of a view or service")
    return given


def _said(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"

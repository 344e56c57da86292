"""Check the shape of the package: imports go down the floors, never in a circle; libraries stay with their adapters.

Run it as `python tools/check_floors.py [SOURCE_FOLDER]`; it reads the code without importing it, counts imports inside
functions as well, prints every problem as `file:line: what; cure`, and exits with 1 if there is one.

The tables at the top are the rules. A new package folder gets a place in FLOORS, a new library a line in LIBRARIES.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

PACKAGE = "likewise"

# Floor 0 is the lowest. A module imports from its own floor or a lower one; "" is the package's own __init__.
FLOORS: tuple[tuple[str, ...], ...] = (
    ("core",),
    ("define", "types"),
    ("registry", "config"),
    ("plan",),
    ("offline", "online", "transform"),
    ("backends", "jobs", "stream"),
    ("cases", "store", "testing"),
    ("", "__main__", "cli", "client", "serve", "ui", "as_feast", "feast_shim"),
)

# Neighbours on one floor that never import each other, in either direction.
STRANGERS: tuple[frozenset[str], ...] = (
    frozenset({"offline", "online"}),
    frozenset({"offline", "transform"}),
    frozenset({"online", "transform"}),
    frozenset({"registry", "config"}),
)

# Which modules may import a library at all (imports for type checking only are free).
LIBRARIES: Mapping[str, tuple[str, ...]] = {
    "duckdb": ("offline.duckdb*",),
    "sqlglot": ("offline.*", "plan.expression"),
    "lmdb": ("online.lmdb",),
    "polars": ("core.frames", "offline.*", "online.*", "transform.*", "testing.*"),
    "click": ("cli.*",),
    "rich": ("cli.*",),
    "rich_click": ("cli.*",),
    "sklearn": ("cli.*",),
    "yaml": ("core.yaml_text", "cli.*"),
    "hypothesis": ("testing.*",),
    "pytest": ("testing.*",),
    "starlette": ("serve.*",),
    "uvicorn": ("serve.*",),
    "httptools": ("serve.*",),
    "prometheus_client": ("serve.*",),
    "redis": ("online.redis*",),
    "httpcore": ("online.remote_server", "client.*"),
    "psycopg": ("online.postgres*", "offline.postgres", "registry.sql_postgres"),
    "pymysql": ("online.mysql*", "registry.sql_mysql"),
    "sqlalchemy": ("registry.sql*", "offline.sql*"),
    "boto3": ("online.dynamodb*",),
    "botocore": ("online.dynamodb*",),
    "confluent_kafka": ("stream.kafka",),
    "pyspark": ("offline.spark*", "stream.spark*"),
    "deltalake": ("offline.*",),
    "pyiceberg": ("offline.*",),
}

# `import likewise` stays light: up to floor 3, and at the top, these are imported inside the function that needs them.
SLOW_TO_IMPORT = frozenset({"pandas", "pyarrow", "numpy", "duckdb", "polars", "sqlglot"})
LIGHT_UNITS = frozenset({unit for floor in FLOORS[:4] for unit in floor} | {"", "backends"})

# Where a module may be imported by a name that is only known at run time.
BY_NAME = ("", "backends", "as_feast", "define.load", "cli", "cli.*")

# Names that say nothing about what is inside.
EMPTY_NAMES = frozenset({"common", "helper", "helpers", "misc", "util", "utils"})


@dataclass(frozen=True, slots=True)
class Import:
    """One import statement's target, as it stands in the code."""

    source: str
    """Dotted name of the importing module."""
    target: str
    """Dotted name of the imported module; "" when the name is only known at run time."""
    line: int
    """Line of the statement."""
    typing_only: bool
    """True under `if TYPE_CHECKING:`."""
    on_load: bool
    """True when importing the source module runs it: neither inside a function nor for typing only."""


@dataclass(frozen=True, slots=True)
class Module:
    """One file of the package."""

    name: str
    """Dotted name below the package: "online.lmdb"; "" is the package itself."""
    path: Path
    """The file."""
    imports: tuple[Import, ...]
    """Every import in it, in the order of the lines."""


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """A broken rule and what to do about it."""

    path: Path
    """The file it is in."""
    line: int
    """The line it is on."""
    text: str
    """What is wrong, and the cure."""

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.text}"


def read_package(root: Path) -> dict[str, Module]:
    """Read every module below `root`, the folder of the package."""
    files = {_module_name(path, root): path for path in sorted(root.rglob("*.py"))}
    return {name: Module(name, path, tuple(_imports(name, path, files.keys()))) for name, path in files.items()}


def check(modules: Mapping[str, Module]) -> list[Problem]:
    """List every broken rule, in the order of files and lines."""
    found: set[Problem] = set()
    for module in modules.values():
        found.update(_name_problems(module))
        for an_import in module.imports:
            found.update(Problem(module.path, an_import.line, text) for text in _import_problems(an_import))
    found.update(_cycle_problems(modules))
    return sorted(found)


def cycles(modules: Mapping[str, Module]) -> list[list[str]]:
    """Find the groups of modules that import each other in a circle, lazy and typing-only imports included."""
    graph = {name: _followers(module, modules) for name, module in modules.items()}
    return [sorted(group) for group in _strongly_connected(graph) if len(group) > 1]


def main(arguments: list[str]) -> int:
    """Print the problems of the package in the source folder (default: src) and a closing line of counts."""
    root = Path(arguments[0] if arguments else "src") / PACKAGE
    modules = read_package(root)
    if not modules:
        print(f"{root}: no Python files here; run this from the project's root or name the source folder")
        return 1
    problems = check(modules)
    for problem in problems:
        print(problem)
    counts = f"{len(modules)} modules, {sum(len(m.imports) for m in modules.values())} imports"
    print(f"floors: {counts}, {len(cycles(modules))} cycles, {len(problems)} problems")
    return 1 if problems else 0


# Reading

Importing = ast.Import | ast.ImportFrom | ast.Call


def _module_name(path: Path, root: Path) -> str:
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _imports(name: str, path: Path, known: Iterable[str]) -> Iterator[Import]:
    tree = ast.parse(path.read_bytes(), filename=str(path))
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    known = set(known)
    for node, lazy, typing_only in _walk(tree, lazy=False, typing_only=False):
        for target in _targets(node, package, known):
            yield Import(name, target, node.lineno, typing_only, not (lazy or typing_only))


def _walk(node: ast.AST, *, lazy: bool, typing_only: bool) -> Iterator[tuple[Importing, bool, bool]]:
    """Yield the statements and calls that import, each with whether it is lazy and whether it is for typing only."""
    if isinstance(node, ast.Import | ast.ImportFrom | ast.Call):
        yield node, lazy, typing_only
    if isinstance(node, ast.If) and _is_type_checking(node.test):
        for statement in node.body:
            yield from _walk(statement, lazy=lazy, typing_only=True)
        for statement in node.orelse:
            yield from _walk(statement, lazy=lazy, typing_only=typing_only)
        return
    lazy = lazy or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
    for child in ast.iter_child_nodes(node):
        yield from _walk(child, lazy=lazy, typing_only=typing_only)


def _is_type_checking(test: ast.expr) -> bool:
    return ast.unparse(test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")


def _targets(node: Importing, package: str, known: set[str]) -> Iterator[str]:
    """Full dotted names of what a node imports; modules of this package start with PACKAGE."""
    match node:
        case ast.Import(names=names):
            yield from (alias.name for alias in names)
        case ast.ImportFrom(module=module, names=names, level=level):
            base = _absolute(module or "", package, level)
            for alias in names:
                inner = f"{base}.{alias.name}"
                yield inner if inner.removeprefix(f"{PACKAGE}.") in known and _is_ours(inner) else base
        case ast.Call(func=function, args=arguments) if _is_import_call(function):
            literal = arguments[0] if arguments else None
            yield literal.value if isinstance(literal, ast.Constant) and isinstance(literal.value, str) else ""


def _absolute(module: str, package: str, level: int) -> str:
    if level == 0:
        return module
    parts = [PACKAGE, *filter(None, package.split("."))]
    return ".".join(parts[: len(parts) - level + 1] + ([module] if module else []))


def _is_import_call(function: ast.expr) -> bool:
    return ast.unparse(function) in ("importlib.import_module", "import_module", "__import__")


def _is_ours(target: str) -> bool:
    return target == PACKAGE or target.startswith(f"{PACKAGE}.")


def _inside(target: str) -> str:
    return target.removeprefix(PACKAGE).removeprefix(".")


# Rules


def _name_problems(module: Module) -> Iterator[Problem]:
    if _floor(module.name) is None:
        unit = _unit(module.name)
        yield Problem(module.path, 1, f"{unit!r} is on no floor; give it a place in FLOORS of tools/check_floors.py")
    last = module.name.rpartition(".")[2]
    if last.strip("_") in EMPTY_NAMES:
        yield Problem(module.path, 1, f"a module called {last!r} says nothing; name it by the noun it holds")


def _import_problems(one: Import) -> Iterator[str]:
    if not one.target:
        if not _matches(one.source, BY_NAME):
            yield "imports by a name known only at run time; only backends.py does that (BY_NAME lists the exceptions)"
    elif _is_ours(one.target):
        yield from _direction_problems(one)
    else:
        yield from _library_problems(one)


def _direction_problems(one: Import) -> Iterator[str]:
    here, there = _unit(one.source), _unit(_inside(one.target))
    here_floor, there_floor = _floor(one.source), _floor(_inside(one.target))
    if here_floor is None or there_floor is None:
        return
    if there_floor > here_floor:
        yield (
            f"floor {here_floor} ({here or PACKAGE}) imports {one.target} on floor {there_floor}; "
            "imports go down: move what both need to the lower floor, or pass it in"
        )
    elif frozenset({here, there}) in STRANGERS:
        yield f"{here} imports {one.target}; these two never meet: move what both need to a lower floor"


def _library_problems(one: Import) -> Iterator[str]:
    library = one.target.partition(".")[0]
    allowed = LIBRARIES.get(library)
    if allowed is not None and not one.typing_only and not _matches(one.source, allowed):
        yield f"imports {library}, which belongs to {', '.join(allowed)}; call that adapter instead"
    if library in SLOW_TO_IMPORT and one.on_load and _unit(one.source) in LIGHT_UNITS:
        yield f"imports {library} on load, which slows `import likewise`; import it inside the function that needs it"


def _cycle_problems(modules: Mapping[str, Module]) -> Iterator[Problem]:
    for group in cycles(modules):
        first = modules[group[0]]
        line = next(i.line for i in first.imports if _owner(i.target, modules) in group)
        names = ", ".join(name or PACKAGE for name in group)
        yield Problem(first.path, line, f"modules import each other in a circle: {names}; break it at one of them")


def _unit(name: str) -> str:
    return name.partition(".")[0]


def _floor(name: str) -> int | None:
    return next((number for number, units in enumerate(FLOORS) if _unit(name) in units), None)


def _matches(name: str, patterns: Iterable[str]) -> bool:
    """Say whether a module is covered by a pattern; "cli.*" covers the package cli itself as well."""
    return any(fnmatchcase(name, p) or (p.endswith(".*") and name == p[:-2]) for p in patterns)


def _owner(target: str, modules: Mapping[str, Module]) -> str | None:
    """Name the package's module that an import loads, or None for a library."""
    return _inside(target) if _is_ours(target) and _inside(target) in modules else None


def _followers(module: Module, modules: Mapping[str, Module]) -> list[str]:
    targets = (_owner(one.target, modules) for one in module.imports)
    return sorted({target for target in targets if target is not None and target != module.name})


def _strongly_connected(graph: Mapping[str, Iterable[str]]) -> Iterator[list[str]]:
    """Tarjan's strongly connected components."""
    order: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []

    def visit(name: str) -> Iterator[list[str]]:
        order[name] = low[name] = len(order)
        stack.append(name)
        for follower in graph[name]:
            if follower not in order:
                yield from visit(follower)
                low[name] = min(low[name], low[follower])
            elif follower in stack:
                low[name] = min(low[name], order[follower])
        if low[name] == order[name]:
            start = stack.index(name)
            yield stack[start:]
            del stack[start:]

    for name in graph:
        if name not in order:
            yield from visit(name)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

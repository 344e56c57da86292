"""Loading a repo: importing the files that define features, and finding the definitions in them.

A repo's modules live apart from the program's: they are imported by their names below the repo's root, and leave no
trace in ``sys.modules``, so that two repos in one process may both have a ``features.py``.
"""

from __future__ import annotations

import builtins
import contextlib
import importlib
import importlib.machinery
import importlib.util
import inspect
import linecache
import re
import sys
import traceback
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, FunctionType, ModuleType

from likewise.core.errors import InvalidDefinition, LikewiseError, Problem, RepoNotFound
from likewise.core.names import near_misses
from likewise.define.definition import Definition
from likewise.define.feast import FEAST, IMPORTING, Loader, feast_alias
from likewise.define.function import UserFunction
from likewise.define.repo_files import OURS, RepoFile, Skipped, read_repo
from likewise.define.transform import OnDemandFeatureView

_loading: set[Path] = set()


@dataclass(frozen=True, slots=True)
class LoadedRepo:
    """What the files of a repo define."""

    root: Path
    """The repo's folder, absolute."""
    contents: tuple[Definition, ...]
    """Every definition once, in the order of files and lines; what is wrong with one stands in its ``problems``."""
    problems: tuple[Problem, ...]
    """What went wrong while files were read and imported; file names are relative to the root."""
    files: tuple[str, ...]
    """The files that were imported for their definitions, relative to the root, in path order."""
    skipped: tuple[Skipped, ...]
    """The files that were not, each with the reason."""
    functions: Mapping[str, UserFunction]
    """The functions of the on-demand views, by the views' names."""


def load_repo(root: Path) -> LoadedRepo:
    """Import the files of a repo that define features, and return what they define.

    Every file that can be imported is, whatever is wrong with the others. While they are imported, ``feast`` means
    Likewise, and the root is first on ``sys.path``.

    A file may use a definition of another file without importing it, as the cells of a notebook do: it is lent to it,
    with a warning that says which import is missing.

    Args:
        root: the repo's folder.

    Raises:
        RepoNotFound: there is no such folder.
        InvalidDefinition: a file of the repo loads the repo, which would never end.
    """
    root = Path(root).absolute()
    if not root.is_dir():
        raise RepoNotFound(f"there is no folder {str(root)!r}", cure="give the folder that holds feature_store.yaml")
    with IMPORTING, _once(root):
        found = read_repo(root)
        for file in found.files:
            linecache.cache.pop(str(file.path), None)  # its text may have changed within the clock's tick
        modules = RepoModules(root, found.files)
        failures = modules.load(found.to_load)
        definitions = _in_order(modules, found.to_load)
        problems = [*found.problems, *(_problem(file, error, modules) for file, error in failures)]
        return LoadedRepo(
            root,
            tuple(definitions),
            tuple(dict.fromkeys(problems)),
            tuple(file.shown for file in found.to_load),
            tuple(found.skipped),
            _functions(definitions),
        )


@contextlib.contextmanager
def _once(root: Path) -> Iterator[None]:
    if root in _loading:
        raise InvalidDefinition(
            f"the repo {str(root)!r} is loaded by one of its own files", cure="move apply() into a program of its own"
        )
    _loading.add(root)
    try:
        yield
    finally:
        _loading.discard(root)


# Importing


class RepoModules:
    """The modules of one repo, kept apart from those of the program.

    Args:
        root: the repo's folder, absolute.
        files: its Python files.
    """

    def __init__(self, root: Path, files: Sequence[RepoFile]) -> None:
        self.root = root
        self.modules: dict[str, ModuleType] = {}
        self.lent: dict[str, dict[str, Definition]] = {}
        self.names = _import_names(files)
        self._files = {self.names[file.shown]: file.path for file in files}
        self._folders = dict(_folders_without_init(root, self._files))
        self.tops = {name.partition(".")[0] for name in self._files}
        self._root_name = root.name if _stands_for(root, self.tops) else ""
        self._own = frozenset({*self.tops, self._root_name, FEAST})
        self._inside = False
        self.builtins = {**vars(builtins), "__import__": self._import}

    def load(self, files: Sequence[RepoFile]) -> list[tuple[RepoFile, BaseException]]:
        """Import files, in order, and return those that failed, each with its error."""
        with self.inside():
            failed = self._attempt(files)
            while self._lend([error for _, error in failed]):
                failed = self._attempt([file for file, _ in failed])
        return failed

    def _attempt(self, files: Iterable[RepoFile]) -> list[tuple[RepoFile, BaseException]]:
        failed: list[tuple[RepoFile, BaseException]] = []
        for file in files:
            try:
                importlib.import_module(self.names[file.shown])
            except (Exception, SystemExit) as error:  # noqa: BLE001 - a user's file may raise anything; all are listed
                failed.append((file, error))
        return failed

    def module_of(self, file: RepoFile) -> ModuleType | None:
        """Return the module of a file; None when it was not imported, or failed."""
        return self.modules.get(self.names[file.shown])

    @contextlib.contextmanager
    def inside(self) -> Iterator[None]:
        """Put the repo's modules in the place of the program's modules of the same names."""
        with IMPORTING, feast_alias():
            if self._inside:
                yield
                return
            hidden = self._take()
            sys.modules.update(self.modules)
            sys.meta_path.insert(0, self)
            sys.path.insert(0, str(self.root))
            self._inside = True
            try:
                yield
            finally:
                self._inside = False
                with contextlib.suppress(ValueError):  # unless a file of the repo has removed it
                    sys.path.remove(str(self.root))
                sys.meta_path.remove(self)
                self.modules.update(self._take())
                sys.modules.update(hidden)

    def _take(self) -> dict[str, ModuleType]:
        tops = {*self.tops, self._root_name}
        names = [name for name in sys.modules if name.partition(".")[0] in tops]
        return {name: sys.modules.pop(name) for name in names}

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Return how to import a module of the repo; None for any other."""
        if self._root_name and name.startswith(f"{self._root_name}."):
            return importlib.machinery.ModuleSpec(name, _SameModule(name.partition(".")[2]))
        if name in self._files:
            file = self._files[name]
            folder = [str(file.parent)] if file.name == "__init__.py" else None
            loader = _RepoLoader(name, str(file), self)
            return importlib.util.spec_from_file_location(name, file, loader=loader, submodule_search_locations=folder)
        if name in self._folders or name == self._root_name != "":
            spec = importlib.machinery.ModuleSpec(name, None, is_package=True)
            spec.submodule_search_locations = [str(self._folders.get(name, self.root))]
            return spec
        return None

    def _import(
        self,
        name: str,
        globals: Mapping[str, object] | None = None,
        locals: Mapping[str, object] | None = None,
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> ModuleType:
        """Import for the repo's own code, which may do so when its functions are called, long after it was loaded."""
        package = str((globals or {}).get("__package__") or "")
        full = importlib.util.resolve_name("." * level + name, package) if level else name
        if full.partition(".")[0] not in self._own:
            return builtins.__import__(name, globals, locals, fromlist or (), level)
        loaded = self.modules.get(full)
        if loaded is not None and all(item in vars(loaded) for item in fromlist or ()):
            return loaded if fromlist else self.modules[full.partition(".")[0]]
        with self.inside():
            return builtins.__import__(name, globals, locals, fromlist or (), level)

    def _lend(self, errors: Iterable[BaseException]) -> bool:
        """Give modules the definitions of other modules that they use without importing; tell whether one got any."""
        given = False
        for error in errors:
            frame = _last_frame(error, self.root)
            if not isinstance(error, NameError) or not error.name or frame is None or frame.name != "<module>":
                continue
            needy = next(name for name, path in self._files.items() if str(path) == frame.filename)
            if error.name in self.lent.get(needy, {}):
                continue
            owners = self.owners(error.name)
            if len(owners) == 1:
                [(owner, definition)] = owners.items()
                self.lent.setdefault(needy, {})[error.name] = definition
                _warn_lent(frame, error.name, owner)
                given = True
        return given

    def owners(self, name: str) -> dict[str, Definition]:
        """Return the modules that hold a definition under a name, one for each definition."""
        found: dict[int, tuple[str, Definition]] = {}
        for module, value in ((m, vars(m).get(name)) for m in self._loaded()):
            if isinstance(value, Definition) and (id(value) not in found or value.origin.file == module.__file__):
                found[id(value)] = (module.__name__, value)
        return dict(found.values())

    def _loaded(self) -> list[ModuleType]:
        where = sys.modules if self._inside else self.modules
        return [where[name] for name in self._files if name in where]


class _RepoLoader(importlib.machinery.SourceFileLoader):
    """Compiles a file's text as it is now: no compiled file of an earlier text is read, and none is left behind."""

    def __init__(self, name: str, path: str, repo: RepoModules) -> None:
        super().__init__(name, path)
        self._repo = repo

    def get_code(self, fullname: str) -> CodeType:
        code: CodeType = self.source_to_code(self.get_data(self.path), self.path)
        return code

    def exec_module(self, module: ModuleType) -> None:
        vars(module).update(self._repo.lent.get(module.__name__, {}))
        vars(module)["__builtins__"] = self._repo.builtins
        super().exec_module(module)


class _SameModule(Loader):
    """Yields a module that has a second name: ``feature_repo.entities`` inside the repo is ``entities``."""

    def __init__(self, name: str) -> None:
        self._name = name

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        module = importlib.import_module(self._name)
        self._spec = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__ = self._spec


def _import_names(files: Sequence[RepoFile]) -> dict[str, str]:
    """Return the name that each file is imported by: its own, or one made up where its own means something else."""
    packages = {file.module for file in files if file.path.name == "__init__.py"}
    plain = {file.module for file in files} - packages
    folders = {file.module.partition(".")[0] for file in files} - packages - plain
    installed = {top for top in folders if _is_installed(top)}
    taken = {*sys.stdlib_module_names, *OURS, *installed}

    def name_of(file: RepoFile) -> str:
        parts = file.module.split(".")
        parents = {".".join(parts[:count]) for count in range(1, len(parts))}
        has_dot = len(parts) > file.shown.count("/") + 1
        hidden = file.module in packages and file.path.name != "__init__.py"
        if has_dot or hidden or parents & plain or parts[0] in taken:
            return "_repo_" + file.shown.removesuffix(".py").replace("/", "_").replace(".", "_")
        return file.module

    return {file.shown: name_of(file) for file in files}


def _is_installed(name: str) -> bool:
    """Tell whether a name is an installed package; a folder without __init__.py gives way to it, as in Python."""
    spec = importlib.machinery.PathFinder.find_spec(name)
    return spec is not None and any(part in str(spec.origin) for part in ("site-packages", "dist-packages"))


def _folders_without_init(root: Path, files: Mapping[str, Path]) -> Iterator[tuple[str, Path]]:
    for name in files:
        parts = name.split(".")
        for count in range(1, len(parts)):
            folder = ".".join(parts[:count])
            if folder not in files:
                yield folder, root.joinpath(*parts[:count])


def _stands_for(root: Path, tops: set[str]) -> bool:
    """Tell whether the root's own name may be imported, as in ``from feature_repo.entities import user``."""
    if not root.name.isidentifier() or root.name in tops or root.name in (*sys.stdlib_module_names, *OURS):
        return False
    spec = importlib.machinery.PathFinder.find_spec(root.name)
    return spec is None or any(Path(folder) == root for folder in spec.submodule_search_locations or ())


def _warn_lent(frame: traceback.FrameSummary, name: str, owner: str) -> None:
    warnings.warn_explicit(
        f"{name!r} is used without being imported; it was taken from {owner}. Write: from {owner} import {name}",
        UserWarning,
        frame.filename,
        frame.lineno or 0,
    )


# Collecting


def _in_order(modules: RepoModules, files: Sequence[RepoFile]) -> list[Definition]:
    """Return the definitions in the files' modules, each once, in the order of files and lines."""
    place = {str(file.path): index for index, file in enumerate(files)}
    found: dict[int, tuple[int, int, Definition]] = {}
    for index, file in enumerate(files):
        module = modules.module_of(file)
        values = [value for name, value in vars(module).items() if name != "__builtins__"] if module else []
        for definition in _definitions(values, set()):
            origin = definition.origin
            key = (place[origin.file], origin.line) if origin.file in place else (index, 0)
            found.setdefault(id(definition), (*key, definition))
    return [definition for _, _, definition in sorted(found.values(), key=lambda entry: entry[:2])]


def _definitions(values: Iterable[object], seen: set[int]) -> Iterator[Definition]:
    """Return the definitions among values, and in lists, tuples and dicts among them."""
    for value in values:
        if isinstance(value, Definition):
            yield value
        elif isinstance(value, list | tuple | dict) and id(value) not in seen:
            seen.add(id(value))
            yield from _definitions(value.values() if isinstance(value, dict) else value, seen)


# Explaining


def _problem(file: RepoFile, error: BaseException, modules: RepoModules) -> Problem:
    frame = _last_frame(error, modules.root)
    where, line = (frame.filename, frame.lineno or 0) if frame is not None else (str(file.path), 0)
    if isinstance(error, SyntaxError) and Path(error.filename or "").is_relative_to(modules.root):
        where, line = str(error.filename), error.lineno or 0
    what, cure = _explain(error, modules)
    return Problem(what, cure, Path(where).relative_to(modules.root).as_posix(), line)


_UNEXPECTED = re.compile(r"(?P<made>\w+)(?:\.__init__)?\(\) got an unexpected keyword argument '(?P<name>\w+)'")
_UNKNOWN = re.compile(r"cannot import name '(?P<name>\w+)' from")


def _arguments(made: str) -> set[str]:
    """Return the names of the arguments of a class or function of Likewise; empty when it is none."""
    public = sys.modules["likewise"]
    found = getattr(public, made) if made in public.__all__ else None
    makers = [vars(kind).get("__init__") for kind in found.__mro__] if isinstance(found, type) else [found]
    taken = [set(inspect.signature(maker).parameters) for maker in makers if isinstance(maker, FunctionType)]
    return set().union(*taken) - {"self", "more"}


def _explain(error: BaseException, modules: RepoModules) -> tuple[str, str]:
    """Say what an error is, and what to do about it."""
    unless = "or name the file in .likewiseignore if it defines no features"
    text = str(error).partition("\n")[0][:500]
    match error:
        case LikewiseError():
            return error.message, error.cure
        case SystemExit():
            return f"it ends the program ({error.code!r}) when it is imported", f"remove the call of exit, {unless}"
        case SyntaxError():
            return f"it is not valid Python: {error.msg}", "correct the line"
        case ModuleNotFoundError(name=str(name)):
            return f"there is no module {name!r}", _module_cure(name, modules, unless)
        case ImportError() if text.startswith("Likewise "):
            return text, f"leave it out, {unless}"
        case ImportError(name=str(name)) if _is_hidden(name, modules):
            return text, _module_cure(name, modules, unless)
        case NameError(name=str(name)):
            owners = " or ".join(f"'from {owner} import {name}'" for owner in modules.owners(name))
            return f"the name {name!r} is not defined", f"write {owners}" if owners else "import it, or define it above"
        case TypeError() if found := _UNEXPECTED.match(text):
            near = near_misses(found["name"], _arguments(found["made"]), "leave it out")
            return f"{found['made']} takes no argument {found['name']!r}", near
        case ImportError(name="likewise") if found := _UNKNOWN.match(text):
            return f"there is no {found['name']!r} in likewise", near_misses(
                found["name"], sys.modules["likewise"].__all__
            )
    return f"importing it fails with {type(error).__name__}: {text}", f"correct the line, {unless}"


def _module_cure(name: str, modules: RepoModules, unless: str) -> str:
    top = name.partition(".")[0]
    if _is_hidden(name, modules):
        return f"rename {top!r} in the repo: a library has the same name, and comes first"
    if top in _beginnings(modules):
        return "correct the name: a module is named by its path below the repo's root"
    return f"install it (pip install {top}), {unless}"


def _is_hidden(name: str, modules: RepoModules) -> bool:
    """Tell whether a module of the repo cannot be imported by its name, because a library has it."""
    top = name.partition(".")[0]
    return top in _beginnings(modules) and top not in modules.tops


def _beginnings(modules: RepoModules) -> set[str]:
    return {shown.removesuffix(".py").partition("/")[0] for shown in modules.names}


def _last_frame(error: BaseException, root: Path) -> traceback.FrameSummary | None:
    """Return the last place in the repo's own files that an error came through."""
    frames = traceback.extract_tb(error.__traceback__)
    return next((frame for frame in reversed(frames) if Path(frame.filename).is_relative_to(root)), None)


def _functions(definitions: Iterable[Definition]) -> dict[str, UserFunction]:
    views = [view for view in definitions if isinstance(view, OnDemandFeatureView)]
    return {view.name: view.function for view in views if view.function is not None}

"""New feature repos, copied from templates.

A template is a folder beside this module: definitions, a README with commands to try, and a ``make_data.py`` whose
``make_data(folder, end)`` writes the repo's made-up data. What every repo has, its settings above all, is written here.
"""

from __future__ import annotations

import json
import re
import runpy
import shutil
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import yaml

from likewise.config import FILE_NAME, config_schema
from likewise.core.errors import RequestError
from likewise.core.names import check_name, near_misses
from likewise.core.time import from_micros, process_clock, to_micros

FOLDER = Path(__file__).parent / "templates"
SCHEMA_FILE = ".likewise/feature_store.schema.json"
DATA_MAKER = "make_data.py"

SETTINGS = """\
# yaml-language-server: $schema={schema}
project: {project}
provider: local
registry: data/registry.db
online_store:
  type: lmdb
  path: data/online_store.lmdb
offline_store:
  type: duckdb
"""
IGNORED = """\
__pycache__/
data/registry.db*
data/online_store.lmdb*
"""


@dataclass(frozen=True, slots=True)
class Template:
    """A kind of repo that can be made."""

    name: str
    """What it is asked for by, and the name of its folder."""
    words: str
    """What it is, in one line."""
    service: str
    """The feature service it defines."""
    request: Mapping[str, int | str]
    """What to ask that service for: keys, and request values where it needs them; a text may be a shell's ``$(…)``."""


TEMPLATES: Mapping[str, Template] = {
    template.name: template
    for template in (
        Template(
            "minimal",
            "one entity, one view, one service over one Parquet file",
            "maintenance_v1",
            {"machine_id": 1},
        ),
        Template(
            "payments",
            "card payments and fraud: several keys, a push source, on-demand features; what `likewise demo` runs",
            "fraud_v1",
            {"customer_id": 7, "terminal_id": 3, "amount": 250, "paid_at": "$(date -u +%Y-%m-%dT%H:%M:%SZ)"},
        ),
        Template(
            "churn",
            "customers who may leave: definitions in features/, their tests in tests/",
            "churn_v1",
            {"customer_id": 7, "product_id": 3},
        ),
        Template(
            "activity",
            "daily activity of app users: everything in one features.py",
            "engagement_v1",
            {"user_id": 17},
        ),
        Template(
            "platform",
            "accounts of a service: data sorted by how it ages, in files, folders and globs",
            "upgrade_v1",
            {"account_id": "acc_0042"},
        ),
        Template(
            "fraud",
            "cards: a nightly pipeline, pushed features, and the programs that train and serve",
            "card_fraud_v1",
            {"card_id": 7},
        ),
        Template(
            "modular",
            "recommendations: entities.py, data_sources.py and features.py; a key of two columns",
            "recommend_v1",
            {"shopper_id": 7, "article_id": "a-03"},
        ),
    )
}
"""Name to template; the first is what ``init`` makes when none is asked for."""
ALIASES: Mapping[str, str] = {"local": "minimal"}
"""Feast's names of templates that mean one of ours."""


def find_template(name: str) -> Template:
    """Return a template by its name.

    Raises:
        RequestError: there is none of that name.

    Example:
        >>> find_template("local").name
        'minimal'
    """
    found = TEMPLATES.get(ALIASES.get(name, name))
    if found is None:
        raise RequestError(f"there is no template {name!r}", cure=near_misses(name, TEMPLATES))
    return found


def project_name(target: Path) -> str:
    """Return the project's name for a folder: the folder's own, with ``_`` for what a name cannot hold.

    Example:
        >>> project_name(Path("work/my-repo"))
        'my_repo'
    """
    kept = re.sub(r"\W+", "_", target.resolve().name).strip("_")
    return kept if kept[:1].isalpha() else f"project_{kept}".rstrip("_")


def create_repo(
    target: Path,
    template: str,
    project: str,
    *,
    at: datetime | None = None,
    data: Callable[[Path], object] | None = None,
) -> list[Path]:
    """Make a feature repo from a template, all of it or nothing.

    Args:
        target: the repo's folder; made when missing. What it holds already stays as it is.
        template: the name of one of TEMPLATES.
        project: the project's name, written into the settings.
        at: the moment up to which data is made up; by default now.
        data: makes the data of the folder it is given, in place of the template's own ``make_data.py``.

    Returns:
        The files made, in the order of their paths.

    Raises:
        RequestError: there is no such template, or a file it would make exists already.
        InvalidName: the project's name cannot be used.

    Example:
        >>> files = create_repo(Path("hall"), "minimal", "hall")
        >>> [file.as_posix() for file in files if file.suffix in (".py", ".yaml")]
        ['hall/cases/readings.yaml', 'hall/feature_store.yaml', 'hall/features.py', 'hall/make_data.py']
    """
    chosen = find_template(template)
    check_name(project, "project")
    end = from_micros(process_clock().now() if at is None else to_micros(at))
    _refuse_taken(target, [FILE_NAME])
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".likewise-init-", dir=target.parent) as parent:
        staged = Path(parent) / "repo"
        _copy(FOLDER / chosen.name, staged)
        _write_settings(staged, project)
        (data or _data_maker(staged, end))(staged)
        files = sorted(path.relative_to(staged) for path in staged.rglob("*") if path.is_file())
        _refuse_taken(target, files)
        _move(staged, target, files)
    return [target / file for file in files]


def _refuse_taken(target: Path, files: Iterable[Path | str]) -> None:
    if target.is_file():
        raise RequestError(f"{target} is a file", cure="give the path of a folder")
    taken = [str(target / file) for file in files if (target / file).exists()]
    if taken:
        more = f" and {len(taken) - 1} more" if len(taken) > 1 else ""
        raise RequestError(f"{taken[0]}{more} exists already; nothing was changed", cure="give another folder")


def _copy(template: Path, folder: Path) -> None:
    """Copy contents only: the files of an installed package may be read-only."""
    for path in template.rglob("*"):
        if path.is_file() and "__pycache__" not in path.parts:
            copy = folder / path.relative_to(template)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)


def _write_settings(folder: Path, project: str) -> None:
    text = project if yaml.safe_load(project) == project else f'"{project}"'  # on, null and the like are no texts
    (folder / FILE_NAME).write_text(SETTINGS.format(project=text, schema=SCHEMA_FILE), encoding="utf-8")
    (folder / ".gitignore").write_text(IGNORED, encoding="utf-8")
    schema = folder / SCHEMA_FILE
    schema.parent.mkdir()
    schema.write_text(json.dumps(config_schema(), indent=2) + "\n", encoding="utf-8")


def _data_maker(folder: Path, end: datetime) -> Callable[[Path], object]:
    """Return the template's own maker of data; run as a file, so that it leaves no module behind."""

    def make(repo: Path) -> None:
        runpy.run_path(str(folder / DATA_MAKER))["make_data"](repo, end)

    return make


def _move(staged: Path, target: Path, files: Iterable[Path]) -> None:
    if not target.exists():
        staged.rename(target)
        return
    for file in files:
        (target / file).parent.mkdir(parents=True, exist_ok=True)
        (staged / file).replace(target / file)

"""Configuration: Feast's keys, and every mistake named."""

import os
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from likewise import Entity, FeatureStore, ValueType
from likewise.cli.session import Session
from likewise.config import FILE_NAME, RepoConfig, config_schema, find_repo, load_config, parse_config, place_of
from likewise.core.errors import ConfigError, RepoNotFound

FEAST = """
project: payments
registry: data/registry.db
provider: local
online_store:
  type: sqlite
  path: data/online_store.db
offline_store:
  type: file
entity_key_serialization_version: 2
"""


def test_feasts_file_says_the_same_here() -> None:
    """A repo written for Feast needs no change."""
    config = parse_config(FEAST)
    assert (config.project, config.registry.path) == ("payments", "data/registry.db")
    assert (config.online_store.type, config.online_store.path) == ("sqlite", "data/online_store.db")
    assert config.offline_store.type == "file"


def test_the_defaults_are_embedded() -> None:
    """A project's name is enough."""
    config = parse_config("project: p")
    assert (config.registry.registry_type, config.online_store.type, config.offline_store.type) == (
        "file",
        "lmdb",
        "duckdb",
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("project: p\nregistry: [", "feature_store.yaml:2 is not valid YAML"),
        ("", "holds no keys"),
        ("- project", "holds no keys"),
        ("registry: r.db", "the key 'project' is missing. write 'project: name'"),
        ("project: 5", ":1: project=5 cannot be. give text"),
        ("project: a b", ":1: project='a b' cannot be. give letters"),
        ("project: ''", "project='' cannot be"),
        ("project: p\nregistry: ''", ":2: registry.path='' cannot be"),
        (
            "project: p\nregistry:\n  cache_ttl_seconds: -1",
            ":3: registry.cache_ttl_seconds=-1 cannot be. give a number",
        ),
        ("project: p\nonline_store:\n  type:", ":3: online_store.type=None is not text"),
        ("project: p\nonline_store:\n  type: lmdb\n  map_size: 1GB", ":4: online_store.map_size='1GB' cannot be"),
        ("project: p\nregistry:\n  path: ${NOBODY_SET_THIS}", ":3: registry.path uses ${NOBODY_SET_THIS}"),
        ("project: p\nregistry: s3://bucket/r.db", ":2: registry.path='s3://bucket/r.db' is in an object store"),
        ("project: p\nonlne_store: lmdb", "no key 'onlne_store'. did you mean 'online_store'"),
        ("project: p\nregistry:\n  pth: r.db", "no key 'registry.pth'. did you mean 'path'"),
        ("project: p\nproject: q", "stands twice"),
        (
            "project: p\nmaterialization:\n  chunk_rows: -5",
            "feature_store.yaml:3: materialization.chunk_rows=-5 cannot be. give a whole number, at least 1000",
        ),
        ("project: p\nregistry: 5", "registry is 5"),
        ("project: ${NOBODY_SET_THIS}", "uses ${NOBODY_SET_THIS}, which is not set"),
        ("project: !!python/object/apply:os.system ['true']", "is not valid YAML"),
        ("project: p\n" + "x" * (1 << 20), "larger than 1 MiB"),
    ],
)
def test_a_mistake_is_named_with_its_key(text: str, said: str) -> None:
    """The message says where, and what would be right."""
    with pytest.raises(ConfigError) as caught:
        parse_config(text)
    assert said in str(caught.value)


def test_a_document_that_unfolds_without_end_is_refused() -> None:
    """A billion laughs are not laughed."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 9)]
    with pytest.raises(ConfigError, match="more than 20000 values"):
        parse_config("\n".join(["project: p", *lines]))


def test_environment_variables_are_filled_in_after_parsing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A secret with YAML in it stays a text."""
    monkeypatch.setenv("NAME", "p: {evil: [")
    config = parse_config("project: p\nproject_description: ${NAME}\nprovider: ${MISSING:-local}")
    assert (config.project_description, config.provider) == ("p: {evil: [", "local")


def test_the_schema_accepts_what_the_reader_accepts() -> None:
    """Editors and Likewise agree, on good files and bad ones."""
    schema = config_schema()
    jsonschema.validate(yaml.safe_load(FEAST), schema)
    jsonschema.validate({"project": "p", "registry": {"path": "r.db"}, "materialization": {"chunk_rows": 5000}}, schema)
    for bad in ({"registry": "r.db"}, {"project": "p", "registri": "x"}, {"project": "p", "registry": {"pth": "x"}}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(bad, schema)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    """The cure is to make one."""
    with pytest.raises(RepoNotFound, match="likewise init"):
        load_config(tmp_path / FILE_NAME)


def test_a_file_that_is_no_text_is_named(tmp_path: Path) -> None:
    """Bytes are not decoded by guessing."""
    (tmp_path / FILE_NAME).write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="UTF-8"):
        load_config(tmp_path / FILE_NAME)


def test_a_repo_is_found_from_inside_and_from_above(tmp_path: Path) -> None:
    """In it, below it, and right above it when it is the only one."""
    repo = tmp_path / "work" / "repo"
    (repo / "features" / "deep").mkdir(parents=True)
    (repo / FILE_NAME).write_text("project: p")
    assert find_repo(repo) == find_repo(repo / "features" / "deep") == find_repo(repo.parent) == repo
    (repo.parent / "other").mkdir()
    (repo.parent / "other" / FILE_NAME).write_text("project: q")
    with pytest.raises(RepoNotFound, match=r"several repos: 'other', 'repo'"):
        find_repo(repo.parent)


def test_records_can_be_made_without_a_file() -> None:
    """Programs and tests need no YAML."""
    assert RepoConfig(project="p").registry.path == "data/registry.db"


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repo, an empty folder beside it, in which we are, and a file ``other.yaml`` in a third."""
    for name in ("repo", "repo/sub", "empty", "third"):
        (tmp_path / name).mkdir()
    (tmp_path / "repo" / FILE_NAME).write_text("project: own")
    (tmp_path / "third" / "other.yaml").write_text("project: other")
    (tmp_path / "third" / FILE_NAME).write_text("project: third")
    monkeypatch.chdir(tmp_path / "empty")
    return tmp_path


@pytest.mark.parametrize(
    ("here", "given", "file", "repo"),
    [
        ("empty", "repo", None, "repo"),
        ("empty", None, None, "empty"),
        ("empty", "repo", "third/other.yaml", "repo"),
        ("repo", None, "third/other.yaml", "repo"),
        ("repo/sub", None, f"third/{FILE_NAME}", "repo"),
        ("empty", None, f"third/{FILE_NAME}", "third"),
        ("empty", None, "third/other.yaml", "empty"),
    ],
)
def test_another_file_is_only_read_and_the_repo_stays(
    folders: Path, monkeypatch: pytest.MonkeyPatch, here: str, given: str | None, file: str | None, repo: str
) -> None:
    """The repo is the given one, or that of the working folder; without any, a feature_store.yaml's own folder."""
    monkeypatch.chdir(folders / here)
    found = place_of(folders / given if given else None, folders / file if file else None)
    assert found == (folders / repo, folders / file if file else folders / repo / FILE_NAME)


def test_python_and_the_command_line_place_a_file_alike(folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A relative file starts from the working folder in both, and both find the same repo."""
    for here in ("repo/sub", "empty", "third"):
        monkeypatch.chdir(folders / here)
        for file in (folders / "third" / "other.yaml", Path(os.path.relpath(folders / "third" / FILE_NAME))):
            with FeatureStore(fs_yaml_file=file) as ours, Session(file=file.absolute()).open() as theirs:
                assert (ours.repo_path, ours.project) == (theirs.repo_path, theirs.project)
                assert ours.project == ("other" if file.name == "other.yaml" else "third")


def test_the_environment_names_the_file_in_python_too(folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Feast's variable counts for programs, unless they name a file or a configuration themselves."""
    monkeypatch.setenv("FEAST_FS_YAML_FILE_PATH", str(folders / "third" / "other.yaml"))
    assert FeatureStore(folders / "repo").project == "other"
    assert FeatureStore(folders / "repo").repo_path == folders / "repo"
    assert FeatureStore(folders / "repo", fs_yaml_file=folders / "repo" / FILE_NAME).project == "own"
    assert FeatureStore(config=RepoConfig(project="given")).project == "given"


def test_two_configurations_are_refused() -> None:
    """Which one was meant cannot be told."""
    with pytest.raises(ConfigError, match=r"both config and fs_yaml_file='a\.yaml' are given"):
        FeatureStore(config=RepoConfig(project="given"), fs_yaml_file="a.yaml")


def test_blocks_may_be_given_in_python_as_they_stand_in_the_file(tmp_path: Path) -> None:
    """Programs written for Feast make a RepoConfig of texts and dicts; a mistake in one is named."""
    blocks: dict[str, Any] = {"registry": "data/r.db", "online_store": {"type": "sqlite"}, "offline_store": "file"}
    config = RepoConfig(project="p", provider="local", **blocks)
    assert (config.registry.path, config.online_store.type, config.offline_store.type) == (
        "data/r.db",
        "sqlite",
        "file",
    )
    with FeatureStore(tmp_path, config=config) as store:
        store.apply([Entity("user", value_type=ValueType.INT64)])
    assert (tmp_path / "data" / "r.db").is_file()
    wrong: Any = {"pth": "r.db"}
    with pytest.raises(ConfigError, match=r"RepoConfig: there is no key 'registry\.pth'\. did you mean 'path'"):
        RepoConfig(project="p", registry=wrong)

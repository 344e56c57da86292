"""Configuration: Feast's keys, and every mistake named."""

from pathlib import Path

import jsonschema
import pytest
import yaml

from likewise.config import FILE_NAME, RepoConfig, config_schema, find_repo, load_config, parse_config
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
        ("project: [", "is not valid YAML"),
        ("", "holds no keys"),
        ("- project", "holds no keys"),
        ("registry: r.db", "project"),
        ("project: p\nonlne_store: lmdb", "no key 'onlne_store'. did you mean 'online_store'"),
        ("project: p\nregistry:\n  pth: r.db", "no key 'registry.pth'. did you mean 'path'"),
        ("project: p\nproject: q", "stands twice"),
        ("project: p\nmaterialization:\n  chunk_rows: -5", "materialization"),
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
    assert parse_config("project: ${NAME}\nprovider: ${MISSING:-local}").project == "p: {evil: ["


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

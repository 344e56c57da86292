import json
import re
import shlex
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import jsonschema
import pandas as pd
import pytest
import yaml
from click.testing import CliRunner

from likewise import FeatureStore, FixedClock
from likewise.cli.init import FOLDER, SCHEMA_FILE, TEMPLATES, create_repo, find_template, project_name
from likewise.cli.root import cli
from likewise.config import load_config
from likewise.core.errors import InvalidName, RequestError
from run_docs import run_page

NOW = datetime(2024, 6, 30, 10, 30, tzinfo=UTC)
AMOUNTS = {"amount": 250.0, "paid_at": NOW}
"""What the service of the payments template asks of a request besides keys."""


def everything_in(folder):
    """Return what is in a folder, file by file."""
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_table_lists_the_folders():
    """Each template is a folder, and each folder a template that says in one line what it is."""
    folders = {path.name for path in FOLDER.iterdir() if path.is_dir()}
    assert folders == set(TEMPLATES)
    assert all(template.words and "\n" not in template.words for template in TEMPLATES.values())


def test_the_first_template_is_the_minimal_one():
    """Who asks for no template gets the smallest, and it stays small."""
    assert next(iter(TEMPLATES)) == "minimal"
    assert len((FOLDER / "minimal" / "features.py").read_text().splitlines()) <= 25


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_repo_is_a_flat_folder_with_settings_at_its_root(name, tmp_path):
    """The settings lie at the root, name the project and are valid; the list holds all files made."""
    files = create_repo(tmp_path / "repo", name, "shop", at=NOW)
    assert sorted(files) == sorted(path for path in (tmp_path / "repo").rglob("*") if path.is_file())
    config = load_config(tmp_path / "repo" / "feature_store.yaml")
    assert (config.project, config.registry.path, config.online_store.type) == ("shop", "data/registry.db", "lmdb")
    assert any(file.suffix == ".parquet" for file in files)


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_repo_applies_trains_materializes_and_serves(name, tmp_path):
    """Out of the box, the service's features are there, for training and online, and they are the same."""
    create_repo(tmp_path / "repo", name, "shop", at=NOW)
    template = TEMPLATES[name]
    request = {**template.request, **(AMOUNTS if name == "payments" else {})}
    with FeatureStore(tmp_path / "repo", clock=FixedClock(NOW)) as store:
        store.apply()
        moments = pd.DataFrame([{**request, "event_timestamp": NOW}])
        training = store.get_historical_features(moments, features=template.service).to_df()
        store.materialize_incremental(NOW)
        online = store.get_online_features(features=template.service, entity_rows=[request]).to_dict()
    features = [column for column in training if column not in moments]
    assert features
    assert training[features].notna().any(axis=None)
    expected = {name: None if pd.isna(value) else value for name, value in training[features].iloc[0].items()}
    assert {name: online[name][0] for name in features} == expected


def commands_of(readme):
    """Return the commands of ``likewise`` in a README, each as its arguments."""
    lines = re.sub(r"\\\n", " ", "".join(re.findall(r"```shell\n(.*?)```", readme, re.DOTALL)))
    lines = re.sub(r"\$\(date [^)]*\)", datetime.now(UTC).isoformat(), lines)
    return [shlex.split(line)[1:] for line in lines.splitlines() if line.startswith("likewise ")]


@pytest.mark.parametrize("name", TEMPLATES)
def test_the_readme_of_a_repo_runs_as_written(name, tmp_path, monkeypatch):
    """Every command and every line of Python in a template's README works, in order."""
    repo = tmp_path / "repo"
    create_repo(repo, name, "shop")
    monkeypatch.chdir(repo)
    commands = commands_of((repo / "README.md").read_text())
    assert [arguments[0] for arguments in commands[:3]] == ["apply", "materialize-incremental", "get-online-features"]
    for arguments in commands:
        done = CliRunner().invoke(cli, arguments)
        assert done.exit_code == 0, f"{arguments}: {done.output}"
    assert run_page(repo / "README.md", repo) >= 1


def test_the_readme_of_the_minimal_repo_runs_in_a_shell(tmp_path):
    """What the README shows can be copied into a terminal."""
    repo = tmp_path / "repo"
    create_repo(repo, "minimal", "shop")
    readme = repo / "README.md"
    readme.write_text(readme.read_text().replace("```shell\n", "```shell run\n"))
    assert run_page(readme, repo) == 2


def test_the_tests_of_the_churn_repo_pass(tmp_path):
    """The template that comes with tests shows how features are tested, and they pass."""
    create_repo(tmp_path / "repo", "churn", "shop")
    with FeatureStore(tmp_path / "repo") as store:
        store.apply()
    command = [sys.executable, "-m", "pytest", "-q", "tests"]
    done = subprocess.run(command, cwd=tmp_path / "repo", capture_output=True, text=True, check=False)
    assert "2 passed" in done.stdout, done.stdout + done.stderr


@pytest.mark.parametrize("name", TEMPLATES)
def test_the_example_cases_of_a_repo_pass(name, tmp_path):
    """Each template has a small file of cases, and training and serving give what it expects."""
    create_repo(tmp_path / "repo", name, "shop", at=NOW)
    done = CliRunner().invoke(cli, ["-c", str(tmp_path / "repo"), "test"])
    assert (done.exit_code, "1 case passed" in done.stdout) == (0, True), done.output


@pytest.mark.parametrize("name", TEMPLATES)
def test_the_same_moment_gives_the_same_data(name, tmp_path):
    """A template's data is seeded: made twice for one moment, it is the same to the byte."""
    create_repo(tmp_path / "one", name, "shop", at=NOW)
    create_repo(tmp_path / "two", name, "shop", at=NOW)
    assert everything_in(tmp_path / "one") == everything_in(tmp_path / "two")


def test_the_settings_carry_a_hint_for_editors(tmp_path):
    """The first line of the settings names a schema beside them, and the settings keep to it."""
    create_repo(tmp_path / "repo", "minimal", "shop", at=NOW)
    text = (tmp_path / "repo" / "feature_store.yaml").read_text()
    assert text.splitlines()[0] == f"# yaml-language-server: $schema={SCHEMA_FILE}"
    schema = json.loads((tmp_path / "repo" / SCHEMA_FILE).read_text())
    jsonschema.validate(yaml.safe_load(text), schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"project": "shop", "onlinestore": {}}, schema)


def test_nothing_that_exists_is_overwritten(tmp_path):
    """A folder that holds one of the files already stays as it is, to the byte."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "readings.parquet").write_text("mine")
    before = everything_in(tmp_path)
    with pytest.raises(RequestError, match=r"readings.parquet exists already; nothing was changed"):
        create_repo(tmp_path, "minimal", "shop", at=NOW)
    assert everything_in(tmp_path) == before


def test_a_repo_is_not_made_over_another(tmp_path):
    """A folder with settings is a repo already."""
    create_repo(tmp_path / "repo", "minimal", "shop", at=NOW)
    before = everything_in(tmp_path)
    with pytest.raises(RequestError, match=r"feature_store\.yaml exists already"):
        create_repo(tmp_path / "repo", "churn", "shop", at=NOW)
    assert everything_in(tmp_path) == before


def test_a_folder_with_other_files_keeps_them(tmp_path):
    """Into a folder with files of other names, the repo is added."""
    (tmp_path / "notes.txt").write_text("mine")
    create_repo(tmp_path, "modular", "shop", at=NOW)
    assert (tmp_path / "notes.txt").read_text() == "mine"
    assert (tmp_path / "entities.py").exists()


def test_a_repo_whose_data_cannot_be_made_is_not_made(tmp_path):
    """When something fails on the way, nothing is left."""

    def fail(folder):
        (folder / "data").mkdir()
        raise OSError("no space left")

    with pytest.raises(OSError, match="no space left"):
        create_repo(tmp_path / "repo", "minimal", "shop", at=NOW, data=fail)
    assert everything_in(tmp_path) == {}
    assert not (tmp_path / "repo").exists()


@pytest.mark.parametrize("project", ["on", "null", "prüfung"])
def test_a_project_may_have_a_name_that_yaml_reads_otherwise(tmp_path, project):
    """Names such as ``on``, which YAML takes for a truth value, stay names."""
    create_repo(tmp_path / "repo", "minimal", project, at=NOW)
    assert load_config(tmp_path / "repo" / "feature_store.yaml").project == project


def test_a_name_that_cannot_be_a_projects_is_refused(tmp_path):
    """The project's name keeps to the rules of names."""
    with pytest.raises(InvalidName, match="project"):
        create_repo(tmp_path / "repo", "minimal", "two words", at=NOW)
    assert not (tmp_path / "repo").exists()


def test_a_file_cannot_become_a_repo(tmp_path):
    """A path that is a file is refused by name."""
    (tmp_path / "repo").write_text("")
    with pytest.raises(RequestError, match="is a file"):
        create_repo(tmp_path / "repo", "minimal", "shop", at=NOW)


def test_an_unknown_template_names_the_near_ones():
    """A slip of the hand gets the name that was meant; Feast's default name is known."""
    with pytest.raises(RequestError, match="did you mean 'churn'"):
        find_template("chrun")
    assert find_template("local").name == "minimal"


@pytest.mark.parametrize(
    ("folder", "name"), [("my-repo", "my_repo"), ("Repo 2", "Repo_2"), ("2024", "project_2024"), ("été", "été")]
)
def test_a_folder_names_its_project(folder, name):
    """The project's name is the folder's, as far as it can be one."""
    assert project_name(Path("/work") / folder) == name

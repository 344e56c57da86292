"""likewise registry: export, import, create-schema."""

import json

import pytest


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    """Write into a folder of the test's own."""
    monkeypatch.chdir(tmp_path)


def test_a_registry_moves_from_a_file_to_a_database(applied, repo, run):
    """Exported from a file and imported into a database, history and definitions are as they were."""
    before = json.loads(applied("--output", "json", "history").stdout)
    done = run("registry", "export", "registry.jsonl")
    assert done.exit_code == 0, done.output
    assert "1 project, 10 versions of definitions" in done.stdout
    assert "  fleet: 1 catalog\n" in done.stdout
    (repo / "feature_store.yaml").write_text("project: fleet\nprovider: local\nregistry: sqlite:///data/sql.db\n")
    assert "Nothing was applied yet" in run("history").stdout
    moved = run("registry", "import", "registry.jsonl")
    assert moved.exit_code == 0, moved.output
    assert "Now in the registry: 1 project" in moved.stdout
    assert json.loads(run("--output", "json", "history").stdout) == before
    assert run("plan").stdout == "No differences.\n"
    assert (repo / "data" / "sql.db").exists()


def test_another_history_is_not_written_over(applied, repo, run):
    """A project that has another history here is refused; the registry stays as it is."""
    run("registry", "export", "registry.jsonl")
    (repo / "feature_store.yaml").write_text("project: fleet\nprovider: local\nregistry: other.db\n")
    definitions = repo / "features.py"
    definitions.write_text(definitions.read_text().replace("What drivers did", "What they did"))
    run("apply", "--yes")
    done = run("registry", "import", "registry.jsonl")
    assert done.exit_code != 0
    assert "project 'fleet' has another history" in done.stderr


def test_one_project_is_exported(applied, run):
    """--project takes one project along; a name that nobody has is an error with near misses."""
    as_json = json.loads(applied("registry", "export", "a.jsonl", "--project", "fleet", "--output", "json").stdout)
    assert as_json["projects"] == {"fleet": 1}
    done = run("registry", "export", "b.jsonl", "--project", "fleets")
    assert done.exit_code != 0
    assert "did you mean 'fleet'" in done.stderr


def test_the_schema_is_printed(repo, run):
    """create-schema prints the tables for the kind of database that is configured, without reaching it."""
    assert "has no tables to make" in run("registry", "create-schema").stderr
    (repo / "feature_store.yaml").write_text("project: fleet\nregistry: postgresql://me:hunter2@nowhere/x\n")
    done = run("registry", "create-schema")
    assert done.stdout.count("CREATE TABLE likewise_") == 7
    assert "BYTEA" in done.stdout
    assert "hunter2" not in done.output


def test_a_database_that_is_not_there_is_named_without_its_password(repo, run):
    """Neither an error nor `configuration` shows the password of the registry's URL."""
    (repo / "feature_store.yaml").write_text("project: fleet\nregistry: postgresql://me:hunter2@127.0.0.1:1/x\n")
    done = run("history", "--debug")
    assert done.exit_code != 0
    assert "postgresql+psycopg://me:***@127.0.0.1:1/x' cannot be reached" in done.stderr
    assert "hunter2" not in done.output + run("configuration").output + run("doctor").output

import contextlib
import json
import shutil
import sqlite3

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from likewise.cli.checkup import check_libraries, check_python


def findings(done):
    """Return what the doctor found, by topic."""
    found = {}
    for each in json.loads(done.stdout):
        found.setdefault(each["topic"], []).append(each)
    return found


def test_a_healthy_repo_has_nothing_wrong(applied):
    """On a repo that is applied and materialized the doctor finds nothing, and exits with 0."""
    applied("materialize-incremental")
    done = applied("doctor")
    assert done.exit_code == 0
    assert {line.split()[0] for line in done.stdout.splitlines() if not line.startswith(" ")} <= {"ok", "warning"}
    states = {topic: [each["state"] for each in found] for topic, found in findings(_json(applied)).items()}
    for topic in ("python", "libraries", "repo", "registry", "sources", "definitions", "online store", "freshness"):
        assert states[topic] == ["ok"], topic


def _json(run):
    return run("doctor", "--output", "json")


def test_outside_of_a_repo_it_says_so(run, tmp_path):
    """Without a repo the installation is checked, and what is missing is told with the cure."""
    (tmp_path / "empty").mkdir()
    done = run("doctor", "--output", "json", folder=tmp_path / "empty")
    assert done.exit_code == 1
    assert findings(done)["python"][0]["state"] == "ok"
    assert findings(done)["repo"][0]["cure"] == "run 'likewise init'"


def test_what_was_not_applied_is_a_warning(run, repo):
    """Nothing applied, or files that changed since, are warnings with the command to run."""
    found = findings(_json(run))
    assert found["registry"][0] == {
        "topic": "registry",
        "state": "warning",
        "what": "nothing was applied yet",
        "cure": "run 'likewise apply'",
    }
    run("apply")
    (repo / "features.py").write_text((repo / "features.py").read_text().replace("days=7", "days=8"))
    done = _json(run)
    assert done.exit_code == 0
    assert findings(done)["definitions"][0]["state"] == "warning"
    assert "1 to update" in findings(done)["definitions"][0]["what"]


def test_a_column_that_went_is_found(applied, repo):
    """A source that no longer fits the applied definitions is a failure that names the column, told once."""
    file = repo / "data" / "trips.parquet"
    pq.write_table(pq.read_table(file).drop_columns("rating"), file)
    done = _json(applied)
    assert done.exit_code == 1
    found = findings(done)
    assert [each["state"] for each in found["sources"]] == ["failed"]
    assert "'rating'" in found["sources"][0]["what"]
    assert found["definitions"][0]["cure"] == "see the sources above"


def test_a_retyped_column_and_a_missing_file_are_found(applied, repo):
    """Another type than declared, and a file that is gone, are failures with file and column."""
    file = repo / "data" / "trips.parquet"
    rows = pq.read_table(file)
    pq.write_table(rows.set_column(2, "trips", pa.array(["a"] * rows.num_rows)), file)
    (repo / "data" / "moves.parquet").unlink()
    said = [each["what"] for each in findings(_json(applied))["sources"]]
    assert any("trips" in what and "string" in what for what in said)
    assert any("moves.parquet" in what for what in said)


def test_a_damaged_registry_is_found(applied, repo):
    """A registry whose bytes fail their checks is a failure; nothing is read from it."""
    file = repo / "data" / "registry.db"
    data = bytearray(file.read_bytes())
    data[len(data) // 2 :] = b"\xff" * (len(data) - len(data) // 2)
    file.write_bytes(bytes(data))
    done = _json(applied)
    assert done.exit_code == 1
    assert findings(done)["registry"][0]["state"] == "failed"
    assert "damaged" in findings(done)["registry"][0]["what"]


def test_files_that_break_a_rule_are_found(applied, repo):
    """A repo file that cannot be loaded is a failure with its line; what is applied goes on."""
    (repo / "features.py").write_text((repo / "features.py").read_text() + "\nimport likewise.nothing\n")
    found = findings(_json(applied))
    assert found["sources"][0]["state"] == "ok"
    assert found["definitions"][0]["state"] == "failed"
    assert "features.py:" in found["definitions"][0]["what"]


def test_a_lost_online_store_is_found(applied, repo):
    """Views that were materialized, and have nothing in the store, are told with the command that brings them back."""
    applied("materialize-incremental")
    [store] = (repo / "data").glob("*.lmdb")
    shutil.rmtree(store)
    [found] = findings(_json(applied))["online store"]
    assert (found["state"], "likewise apply" in found["cure"]) == ("failed", True)
    applied("apply")
    [found] = findings(_json(applied))["online store"]
    assert found["state"] == "warning"
    applied(*found["cure"].strip("'").partition("likewise ")[2].split())
    [found] = findings(_json(applied))["online store"]
    assert found["state"] == "ok"


def test_old_values_are_found(applied):
    """A view whose last materialization is longer ago than its ttl is told."""
    applied("materialize-incremental")
    found = findings(applied("doctor", "--output", "json", now="2024-06-20T00:00:00Z"))
    assert "driver_stats is materialized up to 2024-06-01T12:00:00Z" in found["freshness"][0]["what"]


def test_a_set_clock_is_told(applied):
    """A clock that LIKEWISE_NOW sets is a warning."""
    [found] = findings(_json(applied))["clock"]
    assert (found["state"], "LIKEWISE_NOW" in found["what"]) == ("warning", True)


def test_the_installation_is_whole():
    """This Python and its libraries pass."""
    assert check_python().state == "ok"
    assert [finding.state for finding in check_libraries()] == ["ok"]


@pytest.mark.parametrize(("kind", "cure"), [("lmbd", "did you mean 'lmdb'?"), ("redshift", "comes in a later version")])
def test_an_unknown_online_store_is_found(applied, repo, kind, cure):
    """A type of online store that this version does not have is a failure, with the names that are close."""
    (repo / "feature_store.yaml").write_text(f"project: fleet\nonline_store: {kind}\n")
    done = _json(applied)
    failed = [each for each in json.loads(done.stdout) if each["state"] == "failed"]
    assert done.exit_code == 1
    assert [(kind in each["what"], cure in each["cure"]) for each in failed] == [(True, True)]


@pytest.mark.parametrize(
    ("damage", "topic"),
    [
        ("UPDATE definitions SET body = x'00' WHERE hash IN (SELECT hash FROM entries WHERE number = 2)", "registry"),
        ("UPDATE catalogs SET message = 'forged' WHERE number = 2", "registry"),
        ("DELETE FROM entries WHERE number = 2", "registry"),
        ("UPDATE sides SET value = x'7b7d' WHERE space = 'watermark'", "freshness"),
    ],
)
def test_a_damaged_registry_names_what_can_be_restored(applied, repo, damage, topic):
    """Bytes that fail a check are a failure whose cure is the call that restores what is whole."""
    applied("materialize-incremental")
    (repo / "features.py").write_text((repo / "features.py").read_text().replace("days=7", "days=8"))
    applied("apply")
    with contextlib.closing(sqlite3.connect(repo / "data" / "registry.db")) as connection, connection:
        assert connection.execute(damage).rowcount
    done = _json(applied)
    found = findings(done)
    assert done.exit_code == 1
    assert found[topic][0]["state"] == "failed"
    assert "can be restored: likewise.registry.salvage.restore(" in found[topic][0]["cure"]

"""``likewise backup`` and ``likewise restore``: one set of files, written and put back."""

import json
import shutil


def test_a_set_is_written_and_put_back(applied, repo):
    """After the registry and the online store are lost, a restore brings back what was served."""
    applied("materialize", "2024-05-01", "2024-06-01")
    ask = ("get-online-features", "-f", "driver_stats", "-e", "driver_id=1", "--output", "json")
    before = applied(*ask).stdout
    done = applied("backup", str(repo / "set"))
    assert done.exit_code == 0
    assert "project 'fleet', catalog 1, " in done.stdout
    for path in (repo / "data").iterdir():
        if path.suffix != ".parquet":
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    told = json.loads(applied("restore", str(repo / "set"), "--output", "json").stdout)
    assert (told["project"], told["catalog"], told["records"] >= 4) == ("fleet", 1, True)
    assert applied(*ask).stdout == before
    assert applied("verify-online").exit_code == 0


def test_what_is_no_set_is_refused(applied, repo):
    """The folder, what is missing in it, and the cure."""
    (repo / "empty").mkdir()
    done = applied("restore", str(repo / "empty"))
    assert done.exit_code == 1
    assert "there is no backup.json in" in done.stderr

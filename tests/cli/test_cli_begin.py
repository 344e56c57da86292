import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from likewise.cli.init import TEMPLATES
from likewise.cli.root import cli


@pytest.fixture
def inside(tmp_path):
    """Runs a command line from an empty folder."""

    def run(*args):
        return CliRunner().invoke(cli, ["-c", str(tmp_path), *args])

    return run


def test_init_makes_a_repo_that_can_be_applied(inside, tmp_path):
    """init makes a repo in the folder it is given, and says what to do next."""
    done = inside("init", "hall")
    assert done.exit_code == 0, done.output
    assert "template 'minimal'" in done.stdout
    steps = done.stdout.partition("Next:\n")[2].splitlines()[:4]
    assert steps[1:3] == ["  likewise apply", "  likewise materialize-incremental"]
    assert (tmp_path / "hall" / "feature_store.yaml").is_file()
    assert inside("apply").exit_code == 0  # the only repo below the folder
    assert inside("materialize-incremental").exit_code == 0
    read = inside(*steps[3].split()[1:])
    assert (read.exit_code, "PRESENT" in read.stdout) == (0, True)


def test_init_quotes_a_folder_that_a_shell_would_take_apart(inside):
    """The next steps can be pasted, whatever the folder is called."""
    assert "\n  cd '" in inside("init", "bad name!").stdout


def test_init_without_a_name_takes_the_first_that_is_free(inside, tmp_path):
    """Without a name the folder is feature_repo, then feature_repo_2, and so on."""
    for expected in ("feature_repo", "feature_repo_2"):
        assert inside("init").exit_code == 0
        assert (tmp_path / expected / "feature_store.yaml").is_file()


def test_feasts_spellings_of_init_work(inside, tmp_path):
    """-t local and -m mean the minimal template."""
    assert inside("init", "-t", "local", "one").exit_code == 0
    assert inside("init", "-m", "two").exit_code == 0
    assert (tmp_path / "one" / "features.py").read_text() == (tmp_path / "two" / "features.py").read_text()


def test_init_lists_its_templates(inside):
    """--templates lists what there is, as a table or JSON."""
    assert [line.split()[0] for line in inside("init", "--templates").stdout.splitlines()[1:]] == list(TEMPLATES)
    found = json.loads(inside("init", "--templates", "--output", "json").stdout)
    assert [each["name"] for each in found] == list(TEMPLATES)


def test_init_refuses_what_is_there_and_what_is_not(inside, tmp_path):
    """A folder that holds a repo, and a template nobody has, are refused; nothing is made."""
    inside("init", "hall")
    again = inside("init", "hall")
    assert (again.exit_code, "exists already" in again.stderr) == (1, True)
    wrong = inside("init", "-t", "minmal", "other")
    assert (wrong.exit_code, "did you mean 'minimal'?" in wrong.stderr) == (1, True)
    assert not (tmp_path / "other").exists()


def test_init_as_json(inside, tmp_path):
    """For programs, init says which files it made."""
    found = json.loads(inside("--output", "json", "init", "hall").stdout)
    assert found["folder"] == str(tmp_path / "hall")
    assert str(tmp_path / "hall" / "features.py") in found["files"]


def likewise(*args, folder):
    """Run a command line in a process of its own."""
    command = [sys.executable, "-m", "likewise", *args]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=110)


def test_run_runs_a_program_in_which_feast_is_likewise(tmp_path):
    """run takes a program with its own options, and exits with its code."""
    program = tmp_path / "program.py"
    program.write_text("import sys\nfrom feast import Entity\nprint(Entity.__module__, sys.argv[1:])\nsys.exit(5)\n")
    done = likewise("run", "program.py", "--output", "x", "-c", "-h", folder=tmp_path)
    assert (done.returncode, done.stdout) == (5, "likewise.define.entity ['--output', 'x', '-c', '-h']\n")
    (tmp_path / "below").mkdir()
    moved = likewise("-c", str(tmp_path), "run", "program.py", folder=tmp_path / "below")
    assert moved.returncode == 5


def test_feasts_commands_work_verbatim(tmp_path):
    """In a shell that run starts, `feast` takes Feast's commands as its tutorials write them."""
    script = tmp_path / "tutorial.sh"
    script.write_text(
        "set -e\nfeast init feature_repo\ncd feature_repo\nfeast plan || true\nfeast apply\n"
        "feast feature-views list\nfeast entities list\nfeast materialize 2024-01-01 2024-02-01\n"
        'feast materialize-incremental $(date -u +"%Y-%m-%dT%H:%M:%S")\n'
    )
    done = likewise("run", "sh", "tutorial.sh", folder=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert [line for line in done.stderr.splitlines() if not line.endswith("keys so far")] == []  # on a slow machine
    assert "FeatureView" in done.stdout
    assert Path(tmp_path, "feature_repo", "data", "registry.db").is_file()


def test_run_of_nothing_is_refused(tmp_path):
    """A program that is not there is an error; no program at all is a usage error."""
    assert "there is no file 'nothing.py'" in likewise("run", "nothing.py", folder=tmp_path).stderr
    assert likewise("run", folder=tmp_path).returncode == 64


def test_demo_refuses_a_world_too_small(inside):
    """The demo's own checks are told like any error."""
    done = inside("demo", "--size", "10")
    assert done.exit_code == 1
    assert done.stderr.startswith("error: ")

import json
import os
import pty
import resource
import subprocess
import sys
import time
import warnings

import click
import pytest
from click.testing import CliRunner

from likewise.cli.exits import MEANINGS, ExitCode, NotConfirmed, Unread, code_of
from likewise.cli.root import COMMANDS, LATER, cli
from likewise.cli.session import Session, one_line_warnings, parse_tags
from likewise.core.errors import ApplyConflict, ConfigError, LeaseHeld

LIKEWISE = [sys.executable, "-m", "likewise"]


def run(*args, **more):
    """Run a command line in this process."""
    return CliRunner().invoke(cli, list(args), prog_name="likewise", **more)


def process(*args, **more):
    """Run a command line in a process of its own."""
    return subprocess.run([*LIKEWISE, *args], capture_output=True, text=True, check=False, timeout=60, **more)


def every_command():
    """Return (words, command) of every command, groups included."""
    root = click.Context(cli, info_name="likewise")
    for name in cli.list_commands(root):
        command = cli.get_command(root, name)
        yield (name,), command
        if isinstance(command, click.Group):
            yield from (((name, inner), command.commands[inner]) for inner in command.commands)


def test_help_lists_every_command_and_exit_code():
    """likewise --help has a line for each command under its heading, none cut off, and the exit codes."""
    done = run("--help")
    assert done.exit_code == 0
    for title, names in COMMANDS.items():
        assert f"{title}:" in done.stdout
        for name in names:
            assert f"\n  {name} " in done.stdout
    assert "..." not in done.stdout.partition("Begin:")[2].partition("Exit codes:")[0]
    for code in MEANINGS:
        assert f"\n  {code.value} " in done.stdout


def test_every_command_has_help_with_examples():
    """Each command explains itself, and all but groups show examples that begin with its own name."""
    for words, command in every_command():
        done = run(*words, "--help")
        assert done.exit_code == 0, words
        assert command.help, words
        if not isinstance(command, click.Group):
            assert "Examples:" in done.stdout, words
            own = [line for _, lines in command.footer for line, _ in lines if " ".join(["likewise", *words]) in line]
            assert own or words == ("plan",), words


def test_every_option_is_explained():
    """Each option that is shown says what it does."""
    for words, command in every_command():
        for param in command.params:
            assert not isinstance(param, click.Option) or param.help, (words, param.name)


def test_every_exit_code_has_a_meaning():
    """The codes are the documented ones, and each has its own number."""
    assert set(MEANINGS) == set(ExitCode)
    assert sorted(code.value for code in ExitCode) == [0, 1, 2, 3, 64, 70, 75, 130, 141]


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConfigError("wrong"), 1),
        (NotConfirmed("no"), 3),
        (click.UsageError("what?"), 64),
        (PermissionError(13, "Permission denied", "x"), 1),
        (ZeroDivisionError("division by zero"), 70),
        (LeaseHeld("busy"), 75),
        (ApplyConflict("slow"), 75),
        (click.Abort(), 130),
        (Unread(), 141),
    ],
)
def test_errors_have_exit_codes(error, code):
    """Each kind of error ends a command with its own code."""
    assert code_of(error) == code


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["aply"], "there is no command 'aply'; did you mean 'apply'? See 'likewise --help'"),
        (["xyzzy"], "there is no command 'xyzzy'. See 'likewise --help'"),
        (["apply", "--foo"], "no such option '--foo'. See 'likewise apply --help'"),
        (["entities", "lst"], "no such command 'lst'"),
        (["rollback"], "missing argument 'NUMBER'. See 'likewise rollback --help'"),
        (["rollback", "x"], "invalid value for 'NUMBER'"),
        (["--output", "xml", "plan"], "invalid value for '--output'"),
    ],
)
def test_a_wrong_command_line_exits_with_64(args, said):
    """A usage error is told in one line, with what to do, and exits with 64."""
    done = run(*args)
    assert done.exit_code == 64
    assert done.stdout == ""
    assert done.stderr.startswith("error: ")
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_no_command_shows_the_help():
    """likewise alone shows the help on standard error, and is a usage error."""
    done = run()
    assert (done.exit_code, done.stdout) == (64, "")
    assert "Usage: likewise" in done.stderr


@pytest.mark.parametrize("name", LATER)
def test_commands_of_later_versions_say_so(name):
    """Feast's commands that are not here yet are refused by name, with what to do until then."""
    done = run(name, "-p", "6566")
    assert done.exit_code == 1
    assert f"'likewise {name}' comes in a later version. until then, " in done.stderr


def test_errors_are_told_without_a_traceback_unless_debug(tmp_path):
    """An error is one line; --debug, before or after the command, adds the traceback."""
    done = run("-c", str(tmp_path), "plan")
    assert done.exit_code == 1
    assert done.stderr.startswith("error: there is no feature_store.yaml in ")
    assert len(done.stderr.splitlines()) == 1
    for args in (["--debug", "-c", str(tmp_path), "plan"], ["plan", "-c", str(tmp_path), "--debug"]):
        told = run(*args)
        assert (told.exit_code, told.stderr.splitlines()[0]) == (1, "Traceback (most recent call last):")
        assert told.stderr.splitlines()[-1] == done.stderr.splitlines()[0]


class Broken(Session):
    """A session in which nothing works."""

    def repo(self):
        """Fail as nobody expects."""
        raise ZeroDivisionError("division by zero")


def test_what_nobody_expected_is_told_with_the_way_to_see_more():
    """An unexpected error exits with 70, says how to get the traceback, and --debug shows it."""
    done = run("plan", obj=Broken())
    assert done.exit_code == 70
    assert done.stderr.startswith("error: ZeroDivisionError: division by zero. ")
    assert "--debug" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    told = run("plan", "--debug", obj=Broken())
    assert (told.exit_code, told.stderr.splitlines()[0]) == (70, "Traceback (most recent call last):")


def test_a_missing_folder_is_an_error(tmp_path):
    """-c with a folder that is not there is refused by name."""
    done = run("-c", str(tmp_path / "nowhere"), "plan")
    assert (done.exit_code, "there is no folder" in done.stderr) == (1, True)


def test_a_broken_configuration_is_an_error_with_its_place(tmp_path):
    """An unreadable feature_store.yaml is told with file and key, for every command that needs it."""
    file = tmp_path / "feature_store.yaml"
    file.write_text("project: x\nonlin_store: lmdb\n")
    for command in (["plan"], ["configuration"], ["entities", "list"], ["doctor"]):
        done = run("-c", str(tmp_path), *command)
        assert done.exit_code == 1
        assert "there is no key 'onlin_store'" in done.output
        assert "did you mean 'online_store'" in done.output


def test_the_repo_is_found_from_a_folder_inside_and_from_the_one_above(applied, repo):
    """A command works from a sub-folder of the repo, and from the folder above if it holds no other repo."""
    for folder in (repo / "data", repo.parent):
        assert applied("plan", folder=folder).exit_code == 0


def test_another_configuration_file_can_be_given(applied, repo):
    """-f reads another configuration for the same repo."""
    other = repo / "other.yaml"
    other.write_text("project: fleet\nregistry: other/registry.db\n")
    assert applied("-f", other, "plan").exit_code == 2
    assert "path: other/registry.db" in applied("-f", other, "configuration").stdout
    assert applied("plan").exit_code == 0


def test_secrets_are_never_shown(repo, run):
    """configuration prints *** for what is secret, in YAML and in JSON."""
    (repo / "feature_store.yaml").write_text(
        "project: fleet\nregistry:\n  registry_type: sql\n  path: postgresql://me:hunter2@db/x\n"
        "auth:\n  type: oidc\n  client_secret: hunter2\n  password: hunter2\nopenlineage:\n  api_key: hunter2\n"
    )
    plain, as_json = run("configuration"), run("configuration", "--output", "json")
    assert "hunter2" not in plain.output + as_json.output
    assert "postgresql://me:***@db/x" in plain.stdout
    assert json.loads(as_json.stdout)["auth"] == {"type": "oidc", "client_secret": "***", "password": "***"}


def test_version_endpoint_and_completion():
    """The small commands answer, as text and as JSON."""
    import likewise

    assert run("version").stdout == f"likewise {likewise.__version__}\n"
    assert run("--version").stdout == f"likewise {likewise.__version__}\n"
    assert json.loads(run("version", "--output", "json").stdout)["likewise"] == likewise.__version__
    assert run("endpoint").stdout == "http://127.0.0.1:6566\n"
    for shell in ("zsh", "fish"):
        assert "_LIKEWISE_COMPLETE" in run("completion", shell).stdout


def test_the_shell_completes_commands():
    """What completion prints makes the shell ask likewise, which answers with commands."""
    asked = {"_LIKEWISE_COMPLETE": "zsh_complete", "COMP_WORDS": "likewise feature-v", "COMP_CWORD": "1"}
    done = process(env={**os.environ, **asked})
    assert "feature-views" in done.stdout


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("likewise init -t pay", ["payments"]),
        ("likewise -c {repo} feature-views describe driver_", ["driver_city", "driver_stats"]),
        ("likewise -c {repo} entities describe d", ["driver"]),
        ("likewise -c {repo} materialize -v driver_s", ["driver_stats"]),
        ("likewise -c {repo} get-online-features -f f", ["fares", "fleet_v1"]),
        ("likewise -c {repo}/nowhere entities describe d", []),
    ],
)
def test_the_shell_completes_names(repo, applied, line, offered):
    """Templates and applied definitions are offered by name; where there is no repo nothing is, and nothing is said."""
    words = line.format(repo=repo)
    asked = {"_LIKEWISE_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(len(words.split()) - 1)}
    done = process(env={**os.environ, **asked})
    assert [found.partition(",")[2] for found in done.stdout.split()] == offered
    assert done.stderr == ""


def test_errors_are_json_when_results_are(tmp_path):
    """With --output json an error is one JSON object on standard error, and standard output is empty."""
    for args, kind, cure in (
        (["-c", str(tmp_path), "plan", "--output", "json"], "RepoNotFound", "likewise init"),
        (["--output=json", "ui"], "NotSupported", "until then, look at definitions"),
        (["aply", "--output", "json"], "UsageError", "See 'likewise --help'"),
        (["apply", "--output", "json", "--foo"], "NoSuchOption", "See 'likewise apply --help'"),
        (["--output", "json"], "UsageError", "See 'likewise --help'"),
    ):
        done = run(*args)
        error = json.loads(done.stderr)["error"]
        assert (done.exit_code > 0, done.stdout, error["type"]) == (True, "", kind)
        assert cure in error["cure"]
        assert error["message"]
    done = run("--output", "json", "plan", obj=Broken())
    assert json.loads(done.stderr)["error"]["cure"].startswith("run it again with --debug")


def test_the_problems_of_a_repo_are_listed_as_json(repo):
    """Each problem has its file and line, for programs as for people."""
    (repo / "features.py").write_text("import likewise\n\ndriver = likewise.Entity(name='a b')\n")
    done = process("-c", str(repo), "plan", "--output", "json")
    error = json.loads(done.stderr)["error"]
    assert error["message"] == "1 problem found; nothing was applied"
    assert [(each["file"], each["line"]) for each in error["problems"]] == [("features.py", 3)]


def test_warnings_are_one_line_each(capsys, tmp_path, monkeypatch):
    """A warning is told on one line, with the place if it is in somebody's own file; libraries' own are left out."""
    file = tmp_path / "features.py"
    file.write_text("")
    monkeypatch.chdir(tmp_path)
    with one_line_warnings():
        warnings.warn("first line\n  second line", UserWarning, stacklevel=1)
        warnings.warn_explicit("mind this", UserWarning, str(file), 7)
        warnings.warn("nobody's business", DeprecationWarning, stacklevel=1)
    said = capsys.readouterr().err.splitlines()
    assert said[0].endswith("first line second line")
    assert said[1:] == ["warning: features.py:7: mind this"]


def test_tags_are_parsed():
    """Tags are key:value or key=value; the first of the two signs separates."""
    assert parse_tags(["url=http://x", "a:b=c"]) == {"url": "http://x", "a": "b=c"}


def test_help_loads_nothing_slow():
    """Help is shown without loading what computes: pandas, pyarrow, numpy, duckdb, sqlglot, lmdb, msgspec, rich."""
    slow = {"pandas", "pyarrow", "numpy", "duckdb", "sqlglot", "lmdb", "msgspec", "rich"}
    code = (
        "import sys\nsys.argv = ['likewise', '--help']\nfrom likewise.cli import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        f"print(sorted({slow!r} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.splitlines()[-1] == "[]"


def test_help_costs_little_beside_importing_duckdb():
    """likewise --help takes at most twice the CPU time of importing duckdb."""

    def cpu(*command):
        used = []
        for _ in range(4):
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            subprocess.run(command, capture_output=True, check=True, timeout=60)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            used.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
        return min(used)

    assert cpu(*LIKEWISE, "--help") <= 2 * cpu(sys.executable, "-c", "import duckdb")


def test_a_reader_that_goes_away_is_no_error(repo, applied):
    """When whoever reads the output goes away, nothing is said, and the exit code is 141."""
    code = f"{sys.executable} -m likewise -c {repo} registry-dump; echo $? >&2"
    done = subprocess.run(
        ["bash", "-c", f"({code}) | (exec 0<&-; sleep 2)"], capture_output=True, text=True, timeout=60
    )
    assert done.stderr == "141\n"


def test_help_that_nobody_reads_is_no_error():
    """Help is cut off by its reader as quietly as any other output."""
    code = f"({sys.executable} -m likewise --help; echo $? >&2) | (exec 0<&-; sleep 2)"
    done = subprocess.run(["bash", "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stderr == "141\n"


def test_a_closed_standard_output_is_no_error():
    """Where standard output is closed, a command does its work and says nothing."""
    done = subprocess.run(["bash", "-c", f"{sys.executable} -m likewise version >&-"], capture_output=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, b"")


def test_an_interrupt_exits_with_130(tmp_path):
    """Ctrl-C ends a command with one line and 130."""
    (tmp_path / "feature_store.yaml").write_text("project: slow\n")
    (tmp_path / "features.py").write_text("import likewise, sys, time\nprint('ready', flush=True)\ntime.sleep(60)\n")
    begin = (
        "import signal, runpy; signal.signal(signal.SIGINT, signal.default_int_handler); "  # a job of a shell has none
    )
    begin += "runpy.run_module('likewise', run_name='__main__', alter_sys=True)"
    command = [sys.executable, "-c", begin, "-c", str(tmp_path), "plan"]
    started = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    with started:
        assert started.stdout.readline() == "ready\n"
        started.send_signal(2)
        _, said = started.communicate(timeout=30)
    assert started.returncode == 130
    assert said.strip() == "error: interrupted"


def on_terminal(*args, answer=b"", env=()):
    """Run a command line on a terminal of its own; return its exit code and what the terminal showed."""
    ours, theirs = pty.openpty()
    settings = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "100", **dict(env)}
    ends = {"stdin": theirs, "stdout": theirs, "stderr": theirs}
    shown, deadline = b"", time.monotonic() + 60
    with subprocess.Popen([*LIKEWISE, *args], **ends, env=settings, start_new_session=True) as started:
        os.close(theirs)
        while time.monotonic() < deadline and (data := _read(ours)):
            shown += data
            if answer and b"?" in shown:
                os.write(ours, answer)
                answer = b""
    os.close(ours)
    return started.returncode, shown.decode()


def _read(terminal):
    """Return what comes next; nothing when the other end is closed."""
    try:
        return os.read(terminal, 65536)
    except OSError:
        return b""


def test_on_a_terminal_it_asks_and_has_colours(repo, applied):
    """On a terminal, what deletes asks first, and help and plans have colours."""
    code, shown = on_terminal("-c", str(repo), "teardown", answer=b"n\n")
    assert (code, "Delete all of this?" in shown, "nothing was changed" in shown) == (3, True, True)
    code, shown = on_terminal("-c", str(repo), "delete", "fleet_v1", answer=b"y\n")
    assert (code, "\x1b[31m- feature service fleet_v1" in shown) == (0, True)
    code, shown = on_terminal("--help")
    assert (code, "\x1b[" in shown, "Change definitions" in shown, "Exit codes" in shown) == (0, True, True, True)


def test_no_color_is_heard(repo, applied):
    """NO_COLOR takes the colours away on a terminal, too."""
    code, shown = on_terminal("-c", str(repo), "feature-views", "list")
    assert (code, "\x1b[1m" in shown) == (0, True)
    code, shown = on_terminal("-c", str(repo), "feature-views", "list", env={"NO_COLOR": "1"})
    assert (code, "\x1b[" in shown) == (0, False)

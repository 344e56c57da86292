import ast
import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

import likewise
from likewise.cli.run import SHIM, run_environment, run_program
from likewise.core import errors
from likewise.core.errors import RequestError
from likewise.define.feast import DECORATORS, ERRORS, LATER, MODULES, feast_alias

SOURCE = Path(likewise.__file__).parent

# Each class and function where Feast's documentation imports it from.
FEAST_PATHS = {
    "feast": "Aggregation BatchFeatureView Entity Feature FeatureService FeatureStore FeatureView Field FileSource "
    "OnDemandFeatureView Project PushSource RequestSource StreamFeatureView ValueType",
    "feast.aggregation": "Aggregation",
    "feast.batch_feature_view": "BatchFeatureView batch_feature_view",
    "feast.data_format": "ParquetFormat",
    "feast.data_source": "DataSource PushMode PushSource RequestSource",
    "feast.entity": "Entity",
    "feast.errors": "EntityNotFoundException FeatureNameCollisionError",
    "feast.feature": "Feature",
    "feast.feature_service": "FeatureService",
    "feast.feature_view": "FeatureView",
    "feast.feature_view_projection": "FeatureViewProjection",
    "feast.field": "Field",
    "feast.infra.offline_stores.file_source": "FileSource",
    "feast.on_demand_feature_view": "OnDemandFeatureView on_demand_feature_view",
    "feast.project": "Project",
    "feast.stream_feature_view": "StreamFeatureView stream_feature_view",
    "feast.transformation.mode": "TransformationMode",
    "feast.types": "Array Bool Bytes Float32 Float64 Int32 Int64 String UnixTimestamp ValueType from_value_type",
    "feast.value_type": "ValueType",
}


def python(program: str, folder: Path, *search: Path, code: int = 0) -> tuple[str, str]:
    """Run a program in a Python of its own, with folders before all others on its path; return what it printed."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([*map(str, search), *filter(None, sys.path)])}
    command = [sys.executable, "-W", "error", "-c", program]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    return done.stdout, done.stderr


# Names


@pytest.mark.parametrize(("module", "name"), [(m, n) for m, names in FEAST_PATHS.items() for n in names.split()])
def test_feasts_names_are_where_feast_has_them(module, name):
    """A name imported from where Feast keeps it is Likewise's object, the same one everywhere."""
    with feast_alias():
        found = getattr(importlib.import_module(module), name)
        elsewhere = getattr(importlib.import_module("feast"), name, found)
    assert name in DECORATORS or found is elsewhere
    assert str(getattr(found, "__module__", "likewise.")).startswith("likewise.")


@pytest.mark.parametrize("name", DECORATORS)
def test_a_decorator_and_the_module_of_its_name_can_both_be_imported(name):
    """`from feast import on_demand_feature_view` decorates, whether or not the module of that name was imported."""
    with feast_alias():
        outer = getattr(importlib.import_module("feast"), name)
        module = importlib.import_module(f"feast.{name}")
        inner = getattr(module, name)
        again = getattr(importlib.import_module("feast"), name)
    assert callable(outer)
    assert outer is again is module
    assert outer(name="v")(lambda inputs: inputs).name == "v"
    assert inner is getattr(likewise, name)


def test_feasts_modes_are_understood():
    """A mode may be given as Feast's enumeration or as its text."""
    with feast_alias():
        mode = importlib.import_module("feast.transformation.mode").TransformationMode
    for given in (mode.PYTHON, "python"):
        view = likewise.on_demand_feature_view(mode=given)(lambda inputs: inputs)
        assert view.mode == "python"


# What `from feast import *` yields in Feast 0.66 and 0.67.
FEAST_TOP = (
    "Aggregation AthenaSource BaseChunker BaseEmbedder BatchFeatureView BigQuerySource ChrononSource ChunkingConfig "
    "ConflictPolicy DataFrameEngine DocEmbedder EmbeddingConfig EmbeddingProvider Entity FeastDataFrame "
    "FeastVectorStore Feature FeatureService FeatureStore FeatureView FeatureViewState Field FileSource "
    "FilterTranslator KafkaSource KinesisSource LabelView MultiModalEmbedder OnDemandFeatureView OracleSource Project "
    "PushSource RedshiftSource RepoConfig RequestSource SchemaTransformFn SentenceTransformersEmbeddingProvider "
    "SnowflakeSource StreamFeatureView TextChunker ValueType copy_demo_notebooks get_embedding_provider"
)


@pytest.mark.parametrize("name", FEAST_TOP.split())
def test_every_public_name_of_feast_is_there_or_announced(name):
    """What Likewise has not yet says that it comes in a later version."""
    with feast_alias():
        if name in likewise.__all__:
            run_statement(f"from feast import {name}")
            return
        with pytest.raises(ImportError, match="in a later version"):
            run_statement(f"from feast import {name}")


@pytest.mark.parametrize("module", ["feast.transformation.mode", "feast.transformation.base", "feast.transformation"])
def test_the_modes_can_be_imported_from_each_of_their_modules(module):
    """TransformationMode is one class, wherever it is imported from."""
    with feast_alias():
        found = importlib.import_module(module).TransformationMode
    assert found.PANDAS.value == "pandas"


@pytest.mark.parametrize("module", sorted(MODULES))
def test_every_module_of_the_alias_can_be_imported(module):
    """Each module that the alias lists can be imported, and lists names that it has."""
    with feast_alias():
        imported = importlib.import_module(module)
        assert imported.__name__ == module
        assert [name for name in imported.__all__ if getattr(imported, name, None) is None] == []


def test_feasts_errors_are_caught_under_feasts_names():
    """An error raised by Likewise is caught by a handler for Feast's error of that meaning."""
    with feast_alias():
        from feast.errors import FeastObjectNotFoundException, FeatureViewNotFoundException  # type: ignore
    assert FeatureViewNotFoundException is errors.FeatureViewNotFound
    assert issubclass(FeatureViewNotFoundException, FeastObjectNotFoundException)
    assert all(issubclass(error, errors.LikewiseError) for error in ERRORS.values())


def test_the_version_is_likewises():
    """feast.__version__ is the version of Likewise."""
    with feast_alias():
        assert importlib.import_module("feast").__version__ == likewise.__version__


def test_a_star_import_yields_the_public_names(tmp_path):
    """`from feast import *` yields what the public package has."""
    program = "import likewise.as_feast\nfrom feast import *\nprint(Entity.__module__, FeatureView.__module__)"
    assert python(program, tmp_path)[0] == "likewise.define.entity likewise.define.view\n"


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("from feast import FetureView", r"has no 'FetureView' in 'feast'; did you mean 'FeatureView'"),
        ("from feast import KafkaSource", r"has no 'KafkaSource' in 'feast': stream sources .* come in a later"),
        ("from feast import Permission", r"has no 'Permission' in 'feast': permissions come in a later version"),
        ("from feast.types import Itn64", r"has no 'Itn64' in 'feast.types'; did you mean 'Int64'"),
        ("import feast.featurestore", r"has no 'featurestore' in 'feast'; did you mean 'feature_store'"),
        ("from feast import LabelView", r"has no 'LabelView' in 'feast': label views come in a later version"),
        ("from feast import ConflictPolicy", r"label views come in a later version"),
        ("from feast import FeatureViewState", r"states of feature views come in a later version"),
        ("from feast import DataFrameEngine", r"frames of compute engines come in a later version"),
        ("from feast import FeastDataFrame", r"frames of compute engines come in a later version"),
        ("from feast.transformation.base import transformation", r"transformations as objects come in a later"),
        ("import feast.dqm.profilers.ge_profiler", r"validation of saved datasets come in a later version"),
        ("import feast.permissions.action", r"has no 'permissions' in 'feast': permissions come in a later version"),
        ("from feast.infra.online_stores.redis import R", r"has no .redis. in .*: online stores as classes, "),
        ("from feast.infra.offline_stores.contrib.x import P", r"has no 'contrib' in .*: sources in warehouses"),
    ],
)
def test_a_name_that_is_missing_says_what_is_there(tmp_path, statement, message):
    """Importing a name that Likewise has not is an ImportError with near misses, or with the kind that comes later."""
    with pytest.raises(ImportError, match=message), feast_alias():
        run_statement(statement)


def run_statement(statement: str) -> None:
    """Run one import statement."""
    [node] = ast.parse(statement).body
    if isinstance(node, ast.ImportFrom):
        __import__(str(node.module), {}, {}, [alias.name for alias in node.names])
    elif isinstance(node, ast.Import):
        importlib.import_module(node.names[0].name)


def test_asking_a_module_for_a_name_it_has_not_is_an_attribute_error():
    """Probing a module with hasattr or a default works as with any module."""
    with feast_alias():
        feast = importlib.import_module("feast")
    assert not hasattr(feast, "KafkaSource")
    assert getattr(feast, "KafkaSource", None) is None
    with pytest.raises(AttributeError, match="come in a later version"):
        feast.KafkaSource  # noqa: B018


def test_what_comes_later_is_not_there_yet():
    """No name is both there and announced; the announcement goes when the thing comes."""
    announced = {name for names in LATER.values() for name in names}
    assert announced & {*likewise.__all__, *(module.removeprefix("feast.") for module in MODULES)} == set()


# Installing it


def test_the_alias_holds_inside_its_block_only():
    """Blocks nest; afterwards nothing is left of the alias."""
    before, finders = set(sys.modules), sys.meta_path.copy()
    with feast_alias():
        with feast_alias():
            importlib.import_module("feast.types")
        importlib.import_module("feast.entity")
    assert (sys.meta_path, {name for name in set(sys.modules) - before if name.startswith("feast")}) == (finders, set())


def test_one_import_makes_feast_mean_likewise_from_then_on(tmp_path):
    """After `import likewise.as_feast`, Feast is Likewise, even when a real Feast had been imported before."""
    (tmp_path / "site" / "feast").mkdir(parents=True)
    (tmp_path / "site" / "feast" / "__init__.py").write_text("from .entity import Entity\n")
    (tmp_path / "site" / "feast" / "entity.py").write_text("class Entity: pass\n")
    program = (
        "from feast import Entity as Before\n"
        "import likewise.as_feast\n"
        "from feast import Entity\nfrom feast.entity import Entity as Again\n"
        "print(Before.__module__, Entity.__module__, Again is Entity)"
    )
    assert python(program, tmp_path, tmp_path / "site")[0] == "feast.entity likewise.define.entity True\n"


def test_a_repo_may_ask_for_the_alias_itself(tmp_path):
    """A file of a repo that imports likewise.as_feast leaves the alias in place for the program."""
    (tmp_path / "x.py").write_text("import likewise.as_feast\nfrom feast import Entity\nu = Entity(name='u')\n")
    program = (
        "from pathlib import Path\nfrom likewise.define.load import load_repo\n"
        "[u] = load_repo(Path('.')).contents\nfrom feast import Entity\nprint(type(u) is Entity)"
    )
    assert python(program, tmp_path)[0] == "True\n"


def test_the_alias_imports_nothing_heavy(tmp_path):
    """Installing the alias and importing definitions from it imports no library."""
    program = (
        "import sys, likewise.as_feast\nfrom feast import Entity, FeatureView, Field, FileSource\n"
        "from feast.types import Int64\n"
        "print({'pandas', 'pyarrow', 'numpy', 'duckdb', 'lmdb', 'yaml'} & sys.modules.keys())"
    )
    assert python(program, tmp_path)[0] == "set()\n"


# Other programs


def test_the_shim_makes_feast_mean_likewise_in_a_program_that_finds_it(tmp_path):
    """With the shim's folder on PYTHONPATH, `import feast` of any kind yields Likewise, before a real Feast."""
    (tmp_path / "site" / "feast").mkdir(parents=True)
    (tmp_path / "site" / "feast" / "__init__.py").write_text("raise RuntimeError('the real one')\n")
    for statement in ("import feast", "import feast.types", "from feast import Entity", "from feast.types import Map"):
        program = f"{statement}\nimport feast, feast.entity\nprint(feast.__version__, feast.Entity.__module__)"
        out, _ = python(program, tmp_path, SHIM, tmp_path / "site")
        assert out == f"{likewise.__version__} likewise.define.entity\n"


def test_the_shim_says_when_a_python_has_no_likewise(tmp_path):
    """A Python without Likewise gets an ImportError that names it and says what to do."""
    environment = {"PYTHONPATH": str(SHIM), "PATH": os.defpath}
    command = [sys.executable, "-S", "-c", "import feast"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert "has no Likewise, which 'feast' stands for here. Install it there" in done.stderr


def test_the_environment_of_other_programs_keeps_what_it_held():
    """The command `feast` and this Python come first on PATH, the shim on PYTHONPATH; nothing is lost or doubled."""
    ours = run_environment()
    assert ours["PATH"].split(os.pathsep)[:2] == [str(SHIM / "bin"), str(Path(sys.executable).parent)]
    assert set(filter(None, os.environ["PATH"].split(os.pathsep))) <= set(ours["PATH"].split(os.pathsep))
    assert ours["PYTHONPATH"].split(os.pathsep)[0] == str(SHIM)
    assert os.access(SHIM / "bin" / "feast", os.X_OK)
    again, _ = python(
        "import os\nfrom likewise.cli.run import run_environment\n"
        "os.environ.update(run_environment())\none = run_environment()\nos.environ.update(one)\n"
        "print(one == run_environment())",
        Path.cwd(),
    )
    assert again == "True\n"


def run(argv: list[str], folder: Path) -> tuple[int, str, str]:
    """Run a program as `likewise run` does; return its exit code and what it printed."""
    program = f"import sys\nfrom likewise.cli.run import run_program\nsys.exit(run_program({argv!r}))"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-W", "error", "-c", program]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr


def test_a_script_runs_as_python_would_run_it(tmp_path):
    """A script gets its arguments, its own folder on the path, `__main__`, and Feast's names."""
    (tmp_path / "jobs").mkdir()
    (tmp_path / "jobs" / "beside.py").write_text("NAME = 'beside'\n")
    (tmp_path / "jobs" / "job.py").write_text(
        "import sys, pickle\nfrom beside import NAME\nfrom feast import Entity\n"
        "class Mine: pass\n"
        "assert type(pickle.loads(pickle.dumps(Mine()))) is Mine\n"
        "if __name__ == '__main__':\n    print(sys.argv, NAME, Entity(name='u').origin.line, __file__)\n"
    )
    code, out, err = run(["jobs/job.py", "--size", "3"], tmp_path)
    assert (code, err) == (0, "")
    assert out == "['jobs/job.py', '--size', '3'] beside 7 jobs/job.py\n"


def test_a_module_runs_as_with_dash_m(tmp_path):
    """`-m module` runs a module of the current folder as the main program."""
    (tmp_path / "task.py").write_text("import sys, feast\nprint(__name__, sys.argv[1:], feast.__version__)\n")
    assert run(["-m", "task", "a"], tmp_path) == (0, f"__main__ ['a'] {likewise.__version__}\n", "")


@pytest.mark.parametrize(
    ("text", "code", "said"),
    [
        ("import sys\nsys.exit(7)\n", 7, ""),
        ("raise SystemExit\n", 0, ""),
        ("raise SystemExit('no data')\n", 1, "no data\n"),
        ("def f():\n    1 / 0\nf()\n", 1, "ZeroDivisionError: division by zero\n"),
        ("x = (\n", 1, "SyntaxError: '(' was never closed\n"),
    ],
)
def test_a_script_ends_as_python_would_end_it(tmp_path, text, code, said):
    """Exit codes are the script's; its own errors show a traceback of its own lines only."""
    (tmp_path / "s.py").write_text(text)
    ended, out, err = run(["s.py"], tmp_path)
    assert (ended, out) == (code, "")
    assert err.endswith(said)
    assert "runpy" not in err
    assert "likewise" not in err


@pytest.mark.skipif(os.name != "posix", reason="the commands are a POSIX shell's")
def test_other_commands_find_feast_as_module_and_command(tmp_path):
    """A shell script's Python programs import Feast's names from Likewise, and `feast` is found as a command."""
    (tmp_path / "a.py").write_text("from feast import Entity\nprint(Entity.__module__)\n")
    (tmp_path / "steps.sh").write_text("python a.py && command -v feast && exit 5\n")
    code, out, err = run(["sh", "steps.sh"], tmp_path)
    assert (code, out, err) == (5, f"likewise.define.entity\n{SHIM / 'bin' / 'feast'}\n", "")


@pytest.mark.skipif(os.name != "posix", reason="signals are POSIX's")
def test_a_command_that_a_signal_ends_has_the_shells_exit_code(tmp_path):
    """A command that is killed gives 128 plus the signal's number."""
    assert run(["sh", "-c", "kill -9 $$"], tmp_path)[0] == 137


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([], "there is nothing to run. write 'likewise run script.py'"),
        (["nowhere.py"], "there is no file 'nowhere.py' in "),
        (["no-such-command-here"], "there is no command 'no-such-command-here'. give a Python program by its path"),
    ],
)
def test_what_cannot_be_run_is_an_error(argv, message):
    """No program, a missing script and an unknown command are refused by name."""
    before = dict(os.environ)
    try:
        with pytest.raises(RequestError) as caught:
            run_program(argv)
    finally:
        os.environ.clear()
        os.environ.update(before)
    assert str(caught.value).startswith(message)

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from likewise.core.errors import RepoNotFound
from likewise.define.check import check
from likewise.define.contents import collect
from likewise.define.load import LoadedRepo, load_repo

ENTITY = "from feast import Entity\nuser = Entity(name='user_id')\n"


def repo(root: Path, **files: str) -> Path:
    """Write files below a folder: `a__b="text"` is a/b.py."""
    for name, text in files.items():
        path = root / (name.replace("__", "/") + ".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def names(loaded: LoadedRepo) -> list[str]:
    """Return the names of what was found."""
    return [definition.name for definition in loaded.contents]


def only_problem(loaded: LoadedRepo) -> str:
    """Return the text of the one problem there is."""
    [problem] = loaded.problems
    return str(problem)


# What is found


def test_definitions_come_in_the_order_of_files_and_lines(tmp_path):
    """Every definition is found once, by identity, in the order of files and lines, whichever file imports it first."""
    features = (
        "from feast import FeatureView, Field, FileSource\nfrom feast.types import Int64\nfrom sources import stats\n"
        "from entities import user\n"
        "views = [FeatureView(name='b', source=stats, entities=[user], schema=[Field('x', Int64)])]\n"
        "more = {'deep': (FeatureView(name='a', source=stats, entities=[user], schema=[Field('y', Int64)]),)}\n"
    )
    source = "from feast import FileSource\nstats = FileSource(name='stats', path='s.parquet', timestamp_field='t')\n"
    loaded = load_repo(repo(tmp_path, a_features=features, entities=ENTITY, sources=source))
    assert names(loaded) == ["b", "a", "user_id", "stats"]
    assert loaded.files == ("a_features.py", "entities.py", "sources.py")
    assert loaded.problems == loaded.skipped == ()


@pytest.mark.parametrize("init", [True, False], ids=["with __init__", "without"])
def test_folders_are_packages_with_or_without_init(tmp_path, init):
    """Modules in folders import each other absolutely and relatively, with or without __init__.py."""
    repo(
        tmp_path / "shop",
        entities__user=ENTITY,
        features__one="from entities.user import user\nfrom .two import P\nfrom feast import Project\np = Project(P)\n",
        features__two="P = 'p1'\n",
        features__three="import entities.user as e\nfrom shop.entities.user import user\nassert e.user is user\n",
    )
    if init:
        for folder in ("entities", "features"):
            (tmp_path / "shop" / folder / "__init__.py").write_text("")
    loaded = load_repo(tmp_path / "shop")
    assert loaded.problems == ()
    assert names(loaded) == ["user_id", "p1"]


def test_a_part_of_a_view_and_imported_names_are_found_by_identity(tmp_path):
    """A definition under several names, in several modules, is one; a projection of a view is an object of its own."""
    text = (
        "from feast import FeatureView, Field, FileSource\nfrom feast.types import Int64\n"
        "source = FileSource(path='v.parquet', timestamp_field='t')\n"
        "v = FeatureView(name='v', source=source, schema=[Field('x', Int64)])\n"
        "again = v\npart = v[['x']]\n"
    )
    loaded = load_repo(repo(tmp_path, one=text, two="from one import again, v\n"))
    _source, view, part = loaded.contents
    assert names(loaded) == ["v.parquet", "v", "v"]
    assert (view.projection.features, part.projection.features) == (None, ("x",))


def test_functions_of_on_demand_views_are_found_by_name(tmp_path):
    """A loaded on-demand view carries its function, and the function's text as it stands in the file."""
    text = (
        "from feast import Field, RequestSource, on_demand_feature_view\nfrom feast.types import Int64\n"
        "asked = RequestSource(name='asked', schema=[Field('x', Int64)])\n"
        "@on_demand_feature_view(sources=[asked], schema=[Field('y', Int64)], mode='python')\n"
        "def twice(inputs):\n    return {'y': [2 * x for x in inputs['x']]}\n"
    )
    [(name, function)] = load_repo(repo(tmp_path, f=text)).functions.items()
    assert name == "twice"
    assert function.text.startswith("def twice(inputs):")
    assert function.call is not None
    assert function.call({"x": [1, 2]}) == {"y": [2, 4]}


def test_a_function_may_import_when_it_is_called(tmp_path):
    """A function of the repo finds the repo's modules, and Feast's names, long after the repo was loaded."""
    text = (
        "from feast import Field, RequestSource, on_demand_feature_view\nfrom feast.types import Int64\n"
        "asked = RequestSource(name='asked', schema=[Field('x', Int64)])\n"
        "@on_demand_feature_view(sources=[asked], schema=[Field('y', Int64)], mode='python')\n"
        "def late(inputs):\n"
        "    import lib.factors\n    from lib.more import SHIFT\n    from feast.types import String\n"
        "    return {'y': [lib.factors.FACTOR * x + SHIFT for x in inputs['x']], 't': String.name}\n"
    )
    loaded = load_repo(repo(tmp_path, f=text, lib__factors="FACTOR = 3\n", lib__more="SHIFT = 1\n"))
    call = loaded.functions["late"].call
    assert call is not None
    assert call({"x": [1]}) == {"y": [4], "t": "String"}
    assert call({"x": [2]}) == {"y": [7], "t": "String"}
    assert not {"f", "lib", "lib.factors", "lib.more"} & set(sys.modules)


# Which files


def test_every_file_that_is_not_loaded_has_a_reason(tmp_path):
    """Programs, files without Feast and installed packages are skipped with a reason; imports count transitively."""
    repo(
        tmp_path,
        definitions=ENTITY,
        by_way="from lib.factory import make\nowner = make('by_way')\n",
        lib__factory="from likewise import Entity\ndef make(name):\n    return Entity(name=name)\n",
        make_data="import json\n",
        use="from feast import FeatureStore\nstore = FeatureStore('.')\n",
        renamed="from feast import FeatureStore as FS\nif True:\n    store = FS(repo_path='.')\n",
        dotted="import feast\nprint(feast.FeatureStore('.'))\n",
        careful="from feast import Entity, FeatureStore\nc = Entity(name='careful')\n"
        "def run():\n    return FeatureStore('.')\nif __name__ == '__main__':\n    FeatureStore('.')\n",
        guarded="if __name__ == '__main__':\n    import feast\n",
        broken="def (:\n",
        node_modules__x=ENTITY,
    )
    repo(tmp_path / "env", lib=ENTITY)
    (tmp_path / "env" / "pyvenv.cfg").write_text("")
    for hidden in (".hidden", "__pycache__"):
        repo(tmp_path / hidden, x=ENTITY)
    loaded = load_repo(tmp_path)
    assert loaded.problems == ()
    assert loaded.files == ("by_way.py", "careful.py", "definitions.py", "lib/factory.py")
    assert names(loaded) == ["careful", "user_id", "by_way"]
    assert [tuple(skipped) for skipped in loaded.skipped] == [
        (
            "broken.py",
            "it is not valid Python (line 1: invalid syntax), and mentions neither feast nor likewise",
        ),
        ("dotted.py", "it builds a FeatureStore (line 2): a program that uses the repo"),
        ("env/", "it is a virtual environment"),
        ("guarded.py", "it imports neither feast nor likewise"),
        ("make_data.py", "it imports neither feast nor likewise"),
        ("node_modules/", "it holds installed packages"),
        ("renamed.py", "it builds a FeatureStore (line 3): a program that uses the repo"),
        ("use.py", "it builds a FeatureStore (line 2): a program that uses the repo"),
    ]


@pytest.mark.parametrize("ignore_file", [".likewiseignore", ".feastignore"])
def test_ignore_files_name_what_is_not_loaded(tmp_path, ignore_file):
    """A glob names files, or a folder with all below it; the reason names the line; ignored files can be imported."""
    repo(
        tmp_path,
        kept="from scratch.base import user\n",
        scratch__base=ENTITY,
        scratch__deep__x="from feast import Entity\n1/0\n",
        old_one="1 +\nimport feast\n",
    )
    (tmp_path / ignore_file).write_text("# what is not loaded\n\nscratch/\n./old_*.py  # all of them\n/nothing\n")
    loaded = load_repo(tmp_path)
    assert (loaded.files, loaded.problems, names(loaded)) == (("kept.py",), (), ["user_id"])
    assert [tuple(skipped) for skipped in loaded.skipped] == [
        ("old_one.py", f"{ignore_file} line 4 names it (old_*.py)"),
        ("scratch/base.py", f"{ignore_file} line 3 names it (scratch)"),
        ("scratch/deep/x.py", f"{ignore_file} line 3 names it (scratch)"),
    ]


def test_a_glob_that_is_none_is_a_problem(tmp_path):
    """A line of an ignore file that cannot be understood is a problem with its file and line."""
    repo(tmp_path, x=ENTITY)
    (tmp_path / ".feastignore").write_text("a**b/x\n")
    assert only_problem(load_repo(tmp_path)).startswith(".feastignore:1: 'a**b/x' is no glob")


def test_a_missing_folder_is_an_error(tmp_path):
    """A root that is no folder is refused by name."""
    with pytest.raises(RepoNotFound, match=r"there is no folder '.*nowhere'"):
        load_repo(tmp_path / "nowhere")


# What goes wrong


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1/0", "bad.py:2: importing it fails with ZeroDivisionError: division by zero. correct the line, or name"),
        ("import nowhere.at.all", "bad.py:2: there is no module 'nowhere'. install it (pip install nowhere), or name"),
        ("import sys; sys.exit(3)", "bad.py:2: it ends the program (3) when it is imported. remove the call of exit"),
        ("raise SystemExit", "bad.py:2: it ends the program (None) when it is imported."),
        ("x = (1,", "bad.py:2: it is not valid Python: '(' was never closed. correct the line"),
        ("x = missing", "bad.py:2: the name 'missing' is not defined. import it, or define it above"),
        ("def f():\n  raise OSError('a\\nb')\nf()", "bad.py:3: importing it fails with OSError: a. correct"),
        ("from feast import KafkaSource", "bad.py:2: Likewise 0.1.0 has no 'KafkaSource' in 'feast': stream sources"),
        ("from lib.wrong import x", "bad.py:2: there is no module 'lib.wrong'. correct the name: a module is named by"),
        ("from lib.broken import x", "lib/broken.py:1: importing it fails with ZeroDivisionError"),
        (
            "raise __import__('likewise.core.errors', fromlist=['x']).InvalidDefinition('so bad', cure='do better')",
            "bad.py:2: so bad. do better",
        ),
    ],
)
def test_a_file_that_cannot_be_imported_is_a_problem_with_its_line(tmp_path, text, expected):
    """Whatever importing a file raises is a problem with file, line and cure, and the other files are loaded."""
    repo(tmp_path, bad=f"import feast\n{text}\n", good=ENTITY, lib__broken="1/0\n")
    loaded = load_repo(tmp_path)
    assert only_problem(loaded).startswith(expected)
    assert names(loaded) == ["user_id"]


def test_bad_arguments_do_not_stop_the_import(tmp_path):
    """Every constructor takes what it gets, and each problem is listed with its file and line."""
    text = (
        "from feast import *\nfrom feast.types import *\n"
        "user = Entity(name='user')\n"
        "source = FileSource(path='a.parquet', timestamp_field='t', file_format=5)\n"
        "view = FeatureView(name='v', source=source, entities=user, schema=[Field(name='a', dtype=Struct({1: 2}))])\n"
        "part = view[['zz']]\n"
        "renamed = view.with_join_key_map({'usr': 'u'})\n"
        "service = FeatureService(name='q', features=None)\n"
        "request = RequestSource(name='r', schema=5)\n"
        "made = OnDemandFeatureView(name='o', sources=5, schema=None)\n"
    )
    loaded = load_repo(repo(tmp_path, a=text))
    assert loaded.problems == ()
    lines = [problem.line for problem in check(collect(loaded.contents))]
    assert sorted(set(lines)) == [4, 5, 6, 7, 8, 9, 10]


def test_one_broken_file_is_one_problem_however_many_import_it(tmp_path):
    """Files that import a broken file do not repeat its problem."""
    loaded = load_repo(repo(tmp_path, a="from broken import x\n", b="import broken\n", broken="import feast\n1/0\n"))
    assert only_problem(loaded).startswith("broken.py:2: ")


def test_an_unreadable_file_is_a_problem(tmp_path):
    """A file that cannot be read is never taken for one that defines nothing."""
    (repo(tmp_path, good=ENTITY) / "gone.py").symlink_to(tmp_path / "nowhere.py")
    repo(tmp_path, null="import feast\nx = '\0'\n")
    loaded = load_repo(tmp_path)
    gone, null = loaded.problems
    assert (gone.file, gone.line) == ("gone.py", 0)
    assert gone.what.startswith("importing it fails with FileNotFoundError")
    assert (null.file, null.line) == ("null.py", 0)
    assert "null bytes" in null.what
    assert names(loaded) == ["user_id"]


def test_an_interrupt_is_not_a_problem_of_the_repo(tmp_path):
    """Ctrl-C while a file is imported ends the load."""
    with pytest.raises(KeyboardInterrupt):
        load_repo(repo(tmp_path, slow="import feast\nraise KeyboardInterrupt\n"))


def test_a_repo_that_loads_itself_is_an_error_not_a_circle(tmp_path):
    """A file that loads its own repo gets an error that says so."""
    text = f"import feast\nfrom likewise.define.load import load_repo\nload_repo({str(tmp_path)!r})\n"
    assert "is loaded by one of its own files. move apply()" in only_problem(load_repo(repo(tmp_path, x=text)))
    assert load_repo(tmp_path).problems, "the guard is lifted when the load ends"


def test_a_definition_of_another_file_is_lent_with_a_warning(tmp_path):
    """A file that uses a definition of one other file without importing it gets it; the warning says what to write."""
    view = "from feast import FeatureView, Field, FileSource\nv = FeatureView(name='v', entities=[user])\n"
    repo(tmp_path, a__view=view, b=ENTITY, c="from b import user\n")
    with pytest.warns(UserWarning, match="it was taken from b. Write: from b import user") as seen:
        loaded = load_repo(tmp_path)
    assert [(Path(warning.filename).name, warning.lineno) for warning in seen] == [("view.py", 2)]
    assert loaded.problems == ()
    assert loaded.contents[0].entity_objects == [loaded.contents[1]]


def test_nothing_is_lent_when_two_files_define_it(tmp_path):
    """A name that two files define is not guessed; the problem names both."""
    expected = "a.py:2: the name 'user' is not defined. write 'from b import user' or 'from c import user'"
    loaded = load_repo(repo(tmp_path, a="import feast\nx = user\n", b=ENTITY, c=ENTITY))
    assert only_problem(loaded) == expected


# Apart from the program


def test_the_program_and_its_repos_do_not_mix(tmp_path):
    """Two repos and the program may each have a module `features`; loading leaves no trace in any of them."""
    for name in ("one", "two"):
        text = f"import feast\nfrom entities import user\np = feast.Project('{name}')\n"
        repo(tmp_path / name, features=text, entities=ENTITY)
    mine = sys.modules["features"] = ModuleType("features")
    before, path, finders = dict(sys.modules), sys.path.copy(), sys.meta_path.copy()
    try:
        projects = [names(load_repo(tmp_path / name)) for name in ("one", "two", "one")]
        assert sys.modules["features"] is mine
    finally:
        del sys.modules["features"]
    assert projects == [["user_id", "one"], ["user_id", "two"], ["user_id", "one"]]
    assert (sys.path, sys.meta_path) == (path, finders)
    assert [name for name in sys.modules.keys() - before.keys() if not name.startswith("likewise")] == []


def test_a_reload_sees_what_was_edited_within_the_same_second(tmp_path):
    """An edit that keeps a file's size and time is loaded, in code and in the text of functions; no .pyc is left."""
    text = (
        "from feast import Field, RequestSource, on_demand_feature_view\nfrom feast.types import Int64\n"
        "asked = RequestSource(name='asked', schema=[Field('x', Int64)])\n"
        "@on_demand_feature_view(sources=[asked], schema=[Field('y', Int64)], mode='python')\n"
        "def f(inputs):\n    return {'y': [FACTOR]}\n"
    )
    file = repo(tmp_path, f=text.replace("FACTOR", "1")) / "f.py"
    os.utime(file, (1_700_000_000, 1_700_000_000))
    first = load_repo(tmp_path).functions["f"]
    file.write_text(text.replace("FACTOR", "2"))
    os.utime(file, (1_700_000_000, 1_700_000_000))
    second = load_repo(tmp_path).functions["f"]
    assert [one.call({}) for one in (first, second) if one.call] == [{"y": [1]}, {"y": [2]}]
    assert ("[1]" in first.text, "[2]" in second.text, first.hash == second.hash) == (True, True, False)
    assert list(tmp_path.rglob("*.pyc")) == []


def test_a_library_keeps_its_name(tmp_path):
    """A file named like a module of Python is loaded, but the name stays Python's; importing it says to rename it."""
    repo(
        tmp_path,
        types=ENTITY,
        uses="import feast\nfrom types import user\n",
        calm="import feast, types\ntypes.ModuleType\n",
    )
    loaded = load_repo(tmp_path)
    assert names(loaded) == ["user_id"]
    assert only_problem(loaded).startswith("uses.py:2: cannot import name 'user' from 'types'")
    assert only_problem(loaded).endswith("rename 'types' in the repo: a library has the same name, and comes first")


def test_a_folder_gives_way_to_an_installed_package(tmp_path):
    """A folder of scripts named like an installed package does not hide the package."""
    repo(tmp_path, pytest__scripts=ENTITY, uses="import feast, pytest\npytest.raises\n")
    loaded = load_repo(tmp_path)
    assert (loaded.problems, names(loaded)) == ((), ["user_id"])


def test_files_with_names_that_cannot_be_imported_are_loaded(tmp_path):
    """Digits, dashes and dots in its name, or a folder of its name, do not keep a file from loading."""
    for number, name in enumerate(["2024-views.py", "a.b.py", "v1.2/x.py", "both.py", "both/inner.py", "pkg.py"]):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(f"from feast import Project\np = Project('p{number}')\n")
    repo(tmp_path, pkg__x="x = 1\n")
    (tmp_path / "pkg" / "__init__.py").write_text("from feast import Project\nq = Project('q')\n")
    loaded = load_repo(tmp_path)
    assert loaded.problems == ()
    assert sorted(names(loaded)) == ["p0", "p1", "p2", "p3", "p4", "p5", "q"]


REAL_FEAST = "class Entity:\n    def __init__(self, name): self.name = name\nfrom . import types\n"


def test_a_real_feast_comes_back_after_the_load(tmp_path):
    """With Feast installed and imported, a repo is loaded with Likewise's objects, and Feast is itself again after."""
    (tmp_path / "site" / "feast").mkdir(parents=True)
    (tmp_path / "site" / "feast" / "__init__.py").write_text(REAL_FEAST)
    (tmp_path / "site" / "feast" / "types.py").write_text("Int64 = 'the real one'\n")
    repo(tmp_path / "repo", x=ENTITY)
    program = (
        "import feast, feast.types, sys\n"
        "from likewise.define.load import load_repo\n"
        f"[user] = load_repo({str(tmp_path / 'repo')!r}).contents\n"
        "assert type(user).__module__ == 'likewise.define.entity', user\n"
        "from feast import Entity\n"
        "assert Entity is feast.Entity and Entity.__module__ == 'feast'\n"
        "assert sys.modules['feast.types'].Int64 == 'the real one'\n"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path / "site"), *sys.path])}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.skipif(importlib.util.find_spec("feast") is not None, reason="Feast is installed here")
def test_feast_is_gone_after_the_load(tmp_path):
    """Without Feast installed, a repo is loaded, and importing Feast fails again after."""
    assert names(load_repo(repo(tmp_path, x=ENTITY))) == ["user_id"]
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("feast")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("from likewise import Entity\nx = Entity(naem='y')", "Entity takes no argument 'naem'. did you mean 'name'?"),
        ("from feast import FeatureView\nx = FeatureView(name='y', tll=5)", "FeatureView takes no argument 'tll'"),
        ("from likewise import Entitty", "there is no 'Entitty' in likewise. did you mean 'Entity'?"),
        ("from likewise import Entity\nint(x=5)", "importing it fails with TypeError"),
    ],
)
def test_a_mistyped_name_of_ours_is_told_with_its_near_misses(tmp_path, text, said):
    """An argument or a name that Likewise does not have is named, with those that may have been meant."""
    (tmp_path / "features.py").write_text(text)
    [problem] = load_repo(tmp_path).problems
    assert said in str(problem)

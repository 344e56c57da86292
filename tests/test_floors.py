from pathlib import Path

import pytest

import check_floors

PROJECT = Path(__file__).parents[1]


def problems_of(tmp_path: Path, files: dict[str, str]) -> list[str]:
    """Check a package made of these files and return each problem as "file:line: text"."""
    root = tmp_path / "likewise"
    for name, code in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(code)
    return [
        f"{problem.path.relative_to(root).as_posix()}:{problem.line}: {problem.text}"
        for problem in check_floors.check(check_floors.read_package(root))
    ]


def test_the_package_itself_keeps_to_its_floors():
    """Likewise's own code has no import upwards, no circle and no stray library."""
    modules = check_floors.read_package(PROJECT / "src" / "likewise")
    assert len(modules) > 5
    assert check_floors.check(modules) == []


def test_imports_downwards_are_fine(tmp_path):
    """A module may import from lower floors and from its own, lazily or not."""
    code = "from likewise.core import time\nfrom . import base\n\ndef f():\n    from likewise.plan import training\n"
    files = {"core/time.py": "", "plan/training.py": "", "offline/base.py": "", "offline/duckdb.py": code}
    assert problems_of(tmp_path, files) == []


@pytest.mark.parametrize(
    "code",
    [
        "from likewise.store import FeatureStore\n",
        "import likewise.store\n",
        "from ..store import FeatureStore\n",
        "from .. import store\n",
        "from likewise import store\n",
    ],
)
def test_an_import_upwards_is_a_problem_however_it_is_spelled(tmp_path, code):
    """An import of a higher floor is found in every spelling, absolute and relative."""
    (problem,) = problems_of(
        tmp_path, {"__init__.py": "", "store.py": "", "core/__init__.py": "", "core/time.py": code}
    )
    assert problem.startswith("core/time.py:1: floor 0 (core) imports likewise.store on floor 6; imports go down")


@pytest.mark.parametrize(
    "code",
    [
        "def f():\n    from likewise.store import x\n",
        "class A:\n    def f(self):\n        if self:\n            import likewise.store\n",
        "import importlib\nimportlib.import_module('likewise.store')\n",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from likewise.store import x\n",
    ],
)
def test_an_import_upwards_is_found_inside_functions_and_type_checking_blocks(tmp_path, code):
    """Imports inside functions, by literal name and for typing only count for the floors."""
    (problem,) = problems_of(tmp_path, {"store.py": "", "core/time.py": code})
    assert "floor 0 (core) imports likewise.store on floor 6" in problem


def test_offline_and_online_never_meet(tmp_path):
    """The offline and the online side may not import each other although they stand on one floor."""
    files = {"offline/base.py": "import likewise.online.base\n", "online/base.py": "", "transform/run.py": ""}
    (problem,) = problems_of(tmp_path, files)
    assert problem.startswith("offline/base.py:1: offline imports likewise.online.base; these two never meet")


def test_a_circle_counts_although_one_half_is_lazy(tmp_path):
    """Two modules that import each other are a problem even when one of them does it inside a function."""
    files = {
        "core/names.py": "from likewise.core import types\n",
        "core/types.py": "def f():\n    from likewise.core.names import x\n",
        "core/errors.py": "",
    }
    (problem,) = problems_of(tmp_path, files)
    assert problem.startswith(
        "core/names.py:1: modules import each other in a circle: core.names, core.types; break it"
    )


def test_a_library_stays_with_its_adapter(tmp_path):
    """A library imported outside the modules that adapt it is a problem, lazily too, but not for typing only."""
    typing_only = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import lmdb\n"
    files = {
        "online/lmdb.py": "import lmdb\n",
        "offline/duckdb_scan.py": "import duckdb.typing\n",
        "online/sqlite.py": "def f():\n    import lmdb\n",
        "online/rows.py": typing_only,
    }
    assert problems_of(tmp_path, files) == [
        "online/sqlite.py:2: imports lmdb, which belongs to online.lmdb; call that adapter instead"
    ]


def test_the_lower_floors_import_slow_libraries_only_inside_functions(tmp_path):
    """Pandas at the top of a module that `import likewise` may load is a problem; inside a function it is not."""
    files = {
        "core/types.py": "def f():\n    import pandas\n",
        "core/time.py": "try:\n    import pandas as pd\nexcept ImportError:\n    pass\n",
        "offline/frames.py": "import pandas\n",
    }
    assert problems_of(tmp_path, files) == [
        "core/time.py:2: imports pandas on load, which slows `import likewise`; "
        "import it inside the function that needs it"
    ]


@pytest.mark.parametrize("name", ["utils", "helpers", "common", "_util"])
def test_a_module_name_that_says_nothing_is_a_problem(tmp_path, name):
    """No module is called utils, helpers or common."""
    (problem,) = problems_of(tmp_path, {f"core/{name}.py": ""})
    assert problem.endswith(f"a module called {name!r} says nothing; name it by the noun it holds")


def test_only_the_backends_table_imports_by_name(tmp_path):
    """An import whose name is known only at run time is allowed in backends.py and refused elsewhere."""
    code = "import importlib\n\ndef load(name):\n    return importlib.import_module(name)\n"
    (problem,) = problems_of(tmp_path, {"backends.py": code, "online/base.py": code})
    assert problem.startswith("online/base.py:4: imports by a name known only at run time")


def test_a_folder_without_a_floor_is_a_problem(tmp_path):
    """A new part of the package must be given a floor before it passes."""
    (problem,) = problems_of(tmp_path, {"extra/thing.py": ""})
    assert problem.startswith("extra/thing.py:1: 'extra' is on no floor; give it a place in FLOORS")


def test_the_command_prints_problems_and_fails(tmp_path, capsys):
    """The command exits with 1, one line for each problem and a closing line of counts."""
    problems_of(tmp_path, {"core/utils.py": ""})
    assert check_floors.main([str(tmp_path)]) == 1
    assert capsys.readouterr().out.splitlines()[-1] == "floors: 1 modules, 0 imports, 0 cycles, 1 problems"


def test_the_command_refuses_a_folder_without_code(tmp_path, capsys):
    """An empty folder is an error, so that a wrong path never passes as clean."""
    assert check_floors.main([str(tmp_path)]) == 1
    assert "no Python files here" in capsys.readouterr().out

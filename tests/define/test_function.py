import importlib.util
import itertools
import os
import subprocess
import sys
import types

import pytest

from likewise.core.errors import InvalidDefinition
from likewise.define.function import UserFunction, describe_function

NUMBERS = itertools.count()


@pytest.fixture
def load(tmp_path):
    """Load a module from its text, each in a folder of its own; load("def f(): ...", helpers="X = 1")."""

    def make(text, **others):
        folder = tmp_path / f"at{next(NUMBERS)}"
        folder.mkdir()
        modules = {}
        for name, code in [*others.items(), ("features", text)]:
            (folder / f"{name}.py").write_text(code)
            spec = importlib.util.spec_from_file_location(name, folder / f"{name}.py")
            modules[name] = importlib.util.module_from_spec(spec)
            modules[name].__dict__.update(modules)
            spec.loader.exec_module(modules[name])
        return modules["features"]

    return make


def test_a_function_is_described_by_its_place_and_its_text(load):
    """A description holds name, file, first line and text without decorators."""
    module = load("import functools\n\n@functools.lru_cache\ndef f(x):\n    return x  # the same\n\n\ny = 1\n")
    found = describe_function(module.f)
    assert (found.name, found.file, found.line) == ("f", module.__file__, 3)
    assert found.text == "def f(x):\n    return x  # the same"
    assert found.call is module.f


def test_the_hash_read_from_a_registry_is_kept():
    """A function that was read from the registry has the hash that was written, and no code."""
    assert UserFunction("f", "", 0, "def f(): pass", "abc", None).hash == "abc"


SAME = {
    "another place": ("def f(x):\n    return x\n", "import os\n\n\n\ndef f(x):\n    return x\n"),
    "another neighbour": ("def f(x):\n    return x\n", "def f(x):\n    return x\n\ndef g(x):\n    return 2\n"),
    "a decorator": ("def f(x):\n    return x\n", "def same(g):\n    return g\n\n@same\ndef f(x):\n    return x\n"),
    "an unused constant": ("A = 1\ndef f(x):\n    return x\n", "A = 2\ndef f(x):\n    return x\n"),
    "space at the ends": ("def f(x):\n    return x\n", "def f(x):  \n    return x \n"),
    "its own folder": (
        "import os\nHERE = os.path.dirname(__file__)\ndef f(x):\n    return open(HERE + '/model')\n",
        "import os\nHERE = os.path.dirname(__file__)\ndef f(x):\n    return open(HERE + '/model')\n",
    ),
    "its own file": ("def f(x):\n    return __file__\n", "def f(x):\n    return __file__\n"),
    "what the environment holds": (
        "import os\nos.environ['LIKEWISE_TEST_HASH'] = '1'\nfrom os import environ\ndef f(x):\n    return environ\n",
        "import os\nos.environ['LIKEWISE_TEST_HASH'] = '2'\nfrom os import environ\ndef f(x):\n    return environ\n",
    ),
    "a library": (
        "import json\ndef f(x):\n    return json.loads(x)\n",
        "import json\ndef f(x):\n    return json.loads(x)\n",
    ),
}


@pytest.mark.parametrize("case", SAME)
def test_what_a_function_does_not_use_leaves_its_hash(load, case, monkeypatch):
    """A function's hash is the same wherever it stands, on whichever machine, and whatever stands beside it."""
    monkeypatch.setenv("LIKEWISE_TEST_HASH", "0")
    before, after = SAME[case]
    assert describe_function(load(before).f).hash == describe_function(load(after).f).hash


USES = "def f(x):\n    return {used}\n"
CHANGES = {
    "its text": ("def f(x):\n    return x\n", "def f(x):\n    return x + 1\n"),
    "a constant": ("A = 1\n" + USES, "A = 2\n" + USES, "A"),
    "a constant's type": ("A = 1\n" + USES, "A = 1.0\n" + USES, "A"),
    "a constant below": (USES + "A = 1\n", USES + "A = 2\n", "A"),
    "a nested constant": ("A = {'a': [1, (2, {3})]}\n" + USES, "A = {'a': [1, (2, {4})]}\n" + USES, "A['a']"),
    "a path elsewhere": ("A = '/models/1'\n" + USES, "A = '/models/2'\n" + USES, "A"),
    "a helper": ("def g(x): return x\n" + USES, "def g(x): return -x\n" + USES, "g(x)"),
    "a helper below": (USES + "def g(x): return x\n", USES + "def g(x): return -x\n", "g(x)"),
    "a helper's helper": (
        "def h(x): return x\ndef g(x): return h(x)\n" + USES,
        "def h(x): return -x\ndef g(x): return h(x)\n" + USES,
        "g(x)",
    ),
    "a helper's constant": (
        "A = 1\ndef g(x): return A\n" + USES,
        "A = 2\ndef g(x): return A\n" + USES,
        "[g(y) for y in x]",
    ),
    "a cached helper": (
        "from functools import cache\n@cache\ndef g(x): return x\n" + USES,
        "from functools import cache\n@cache\ndef g(x): return -x\n" + USES,
        "g(x)",
    ),
    "a helper in a table": (
        "def g(x): return x\nA = {'g': g}\n" + USES,
        "def g(x): return -x\nA = {'g': g}\n" + USES,
        "A['g'](x)",
    ),
    "a partial's arguments": (
        "from functools import partial\ndef g(x, y): return x\nA = partial(g, y=1)\n" + USES,
        "from functools import partial\ndef g(x, y): return x\nA = partial(g, y=2)\n" + USES,
        "A(x)",
    ),
    "a default": ("A = 1\ndef f(x, a=A):\n    return a\n", "A = 2\ndef f(x, a=A):\n    return a\n"),
    "a keyword's default": ("A = 1\ndef f(x, *, a=A):\n    return a\n", "A = 2\ndef f(x, *, a=A):\n    return a\n"),
    "what is around it": (
        "def make(a):\n    def f(x):\n        return a\n    return f\nf = make(1)\n",
        "def make(a):\n    def f(x):\n        return a\n    return f\nf = make(2)\n",
    ),
    "a method": (
        "class A:\n    def g(self, x): return x\n" + USES,
        "class A:\n    def g(self, x): return -x\n" + USES,
        "A().g(x)",
    ),
    "an inherited method": (
        "class B:\n    @property\n    def g(self): return 1\nclass A(B): pass\n" + USES,
        "class B:\n    @property\n    def g(self): return 2\nclass A(B): pass\n" + USES,
        "A().g",
    ),
    "a class's constant": ("class A:\n    LOW = 1\n" + USES, "class A:\n    LOW = 2\n" + USES, "A.LOW"),
    "an object's class": (
        "class A:\n    @staticmethod\n    def g(x): return x\na = A()\n" + USES,
        "class A:\n    @staticmethod\n    def g(x): return -x\na = A()\n" + USES,
        "a.g(x)",
    ),
    "an enum's value": (
        "import enum\nclass A(enum.Enum):\n    LOW = 1\nL = A.LOW\n" + USES,
        "import enum\nclass A(enum.Enum):\n    LOW = 2\nL = A.LOW\n" + USES,
        "L.value",
    ),
    "a span of time": (
        "from datetime import timedelta\nA = timedelta(1)\n" + USES,
        "from datetime import timedelta\nA = timedelta(2)\n" + USES,
        "A",
    ),
    "a pattern": ("import re\nA = re.compile('a')\n" + USES, "import re\nA = re.compile('b')\n" + USES, "A.match(x)"),
}


@pytest.mark.parametrize("case", CHANGES)
def test_whatever_a_function_uses_of_the_repo_changes_its_hash(load, case):
    """A change of a function's text, or of what it uses from the repo's own modules, is another hash."""
    before, after, *used = CHANGES[case]
    first, second = (load(text.replace("{used}", *used) if used else text) for text in (before, after))
    assert describe_function(first.f).hash != describe_function(second.f).hash
    assert describe_function(first.f).hash == describe_function(first.f).hash


@pytest.mark.parametrize(
    ("helpers", "other"),
    [("A = 1\n", "A = 2\n"), ("def A(): return 1\n", "def A(): return 2\n")],
    ids=["value", "function"],
)
def test_what_is_used_of_another_module_of_the_repo_counts(load, helpers, other):
    """An attribute of another module of the repo is used by its module's name; the rest of that module is not."""
    text = "def f(x):\n    return helpers.A\n"
    hashes = [describe_function(load(text, helpers=code).f).hash for code in (helpers, helpers + "B = 1\n", other)]
    assert hashes[0] == hashes[1] != hashes[2]


def test_values_that_hold_themselves_and_functions_that_call_each_other_end(load):
    """A list that holds itself and functions that call each other have a hash."""
    text = "A = []\nA.append(A)\ndef g(x): return f(x)\ndef f(x): return g(A)\n"
    assert len(describe_function(load(text).f).hash) == 64


def test_a_name_that_is_not_bound_is_left_out(load):
    """A function may name what is bound only later, or never."""
    text = (
        "def make():\n    def f(x):\n        return later, never\n    g = f\n    return g\n    later = 1\nf = make()\n"
    )
    assert len(describe_function(load(text).f).hash) == 64


HASHED_ELSEWHERE = """
import sys
sys.path.insert(0, sys.argv[1])
import features
from likewise.define.function import describe_function
print(describe_function(features.f).hash)
"""


def test_the_hash_is_the_same_in_every_process(load):
    """The order of sets and the addresses of objects, which differ from process to process, leave no trace."""
    text = (
        "import enum\nclass C(enum.StrEnum):\n    A = 'a'\n    B = 'b'\nclass K: pass\n"
        "S = {'a', 'b', 'c', ('d', 1)}\nD = {'s': frozenset('xyz'), 'o': object(), 'k': K(), 'f': lambda x: x}\n"
        "def f(x):\n    return [S, D, C.A, K] + [y for y in x]\n"
    )
    module = load(text)
    hashes = {describe_function(module.f).hash}
    for seed in ("1", "2"):
        command = [sys.executable, "-c", HASHED_ELSEWHERE, os.path.dirname(module.__file__)]  # noqa: PTH120
        environment = os.environ | {"PYTHONHASHSEED": seed}
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
        hashes.add(done.stdout.strip())
    assert len(hashes) == 1


@pytest.mark.parametrize("thing", [len, 7, types.SimpleNamespace()])
def test_what_is_no_plain_function_is_refused(thing):
    """A built-in or another object is an error that says what to give."""
    with pytest.raises(InvalidDefinition, match=r"is not a plain function\. give a function made with def"):
        describe_function(thing)


def test_a_function_without_a_source_is_refused():
    """A function made from a text has no text to keep; a text given beside it will do."""
    code = compile("def f(x): return x", "<made>", "exec").co_consts[0]
    made = types.FunctionType(code, {})
    with pytest.raises(InvalidDefinition, match="the source of function 'f' cannot be read"):
        describe_function(made)
    assert describe_function(made, "def f(x): return x").text == "def f(x): return x"

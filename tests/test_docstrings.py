import doctest
import importlib
import inspect
from pathlib import Path

import pytest

import likewise

SOURCE = Path(likewise.__file__).parent
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE | doctest.IGNORE_EXCEPTION_DETAIL
MODULES = sorted(
    ".".join(path.relative_to(SOURCE.parent).with_suffix("").parts).removesuffix(".__init__")
    for path in SOURCE.rglob("*.py")
    if path.name != "__main__.py" and "templates" not in path.parts
)


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of_a_module_run(name, tmp_path, monkeypatch):
    """Every example in the docstrings of a module runs and prints what it says, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as missing:
        if str(missing.name).startswith("likewise"):
            raise
        pytest.skip(f"{name} adapts {missing.name}, which the tests do not install")
    failed, _ = doctest.testmod(module, optionflags=FLAGS)
    assert failed == 0, "the example and what it printed are in the captured output"


def test_every_public_name_is_documented_with_an_example():
    """Every public class and function has a docstring, and an example in it."""
    things = {name: getattr(likewise, name) for name in likewise.__all__}
    described = {name: thing for name, thing in things.items() if inspect.isclass(thing) or inspect.isfunction(thing)}
    assert [name for name, thing in described.items() if ">>>" not in (thing.__doc__ or "")] == []

import re
import tomllib
from pathlib import Path

PROJECT = Path(__file__).parents[1]


def test_the_lockfile_names_only_the_public_index():
    """uv.lock works on any machine: it holds no mirror, no local path and no other host than the public index."""
    text = (PROJECT / "uv.lock").read_text()
    assert set(re.findall(r"[a-z]+://[^/\"]*", text)) == {"https://pypi.org", "https://files.pythonhosted.org"}
    sources = [package["source"] for package in tomllib.loads(text)["package"]]
    others = [source for source in sources if source != {"registry": "https://pypi.org/simple"}]
    assert others == [{"editable": "."}]


def test_the_extra_all_holds_every_other_extra():
    """`pip install likewise[all]` brings every extra there is."""
    extras = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    (all_of_them,) = extras.pop("all")
    assert all_of_them == f"likewise[{','.join(sorted(extras))}]"

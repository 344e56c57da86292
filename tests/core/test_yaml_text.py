import pytest

from likewise.core.yaml_text import YamlFault, YamlLines, read_yaml


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("a: 1\na: 2", 2, "has a key that stands twice in one block: 'a'"),
        ("a: [1", 1, "is not valid YAML"),
        ("a: !!python/name:os.system", 1, "is not valid YAML"),
        ("a: 2024-13-45", 0, "is not valid YAML"),
        ("? [1]\n: 2", 0, "is not valid YAML"),
    ],
)
def test_what_is_not_plain_data_is_refused(text, line, said):
    """What is wrong is said, with the line where it can be told."""
    with pytest.raises(YamlFault) as caught:
        read_yaml(text)
    assert said in caught.value.what
    assert caught.value.line == line


def test_a_text_that_holds_itself_is_refused():
    """An alias of what it stands in has no end."""
    with pytest.raises(YamlFault):
        read_yaml("a: &a [*a]")


def test_lines_are_those_of_keys_and_items():
    """A path leads to the line of its last step that is there."""
    lines = YamlLines("a:\n  b:\n    - 1\n    - {c: 2,\n       d: 3}\n")
    assert [lines.of(path) for path in (["a"], ["a", "b", 1], ["a", "b", 1, "d"], ["a", "b", 5], ["x"], [])] == [
        1,
        4,
        5,
        2,
        0,
        0,
    ]
    assert YamlLines("").of(["a"]) == 0

"""YAML text: plain data only, no key twice, bounded in size, and the line of each value."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

LARGEST = 1 << 20
"""How many characters a text may have."""
MOST_NODES = 20_000
"""How many values it may hold, each alias counted as what it stands for."""
Path = Sequence[str | int]
"""Keys of mappings and places in lists that lead to a value."""


class YamlFault(ValueError):
    """A text that is not YAML, or not plain, and the line; what is wrong continues the name of the file."""

    def __init__(self, what: str, cure: str, line: int = 0) -> None:
        super().__init__(what)
        self.what = what
        self.cure = cure
        self.line = line


def read_yaml(text: str) -> Any:
    """Return the data of a YAML text.

    Raises:
        YamlFault: it is not YAML, or not plain data, too large, or has a key twice.

    Example:
        >>> read_yaml("a: [1, 2024-01-31]")
        {'a': [1, datetime.date(2024, 1, 31)]}
    """
    import yaml

    if len(text) > LARGEST:
        raise YamlFault("is larger than 1 MiB", "is it the right file?")

    class Loader(yaml.SafeLoader):
        """Plain data only, and no key twice."""

    def mapping(loader: yaml.SafeLoader, node: yaml.MappingNode) -> dict[Any, Any]:
        seen = set()
        for place, _ in node.value:
            if place.tag == "tag:yaml.org,2002:merge":
                continue
            key = loader.construct_object(place)
            if key in seen:
                line = place.start_mark.line + 1
                raise YamlFault(f"has a key that stands twice in one block: {key!r}", "remove one", line)
            seen.add(key)
        loader.flatten_mapping(node)
        return {loader.construct_object(k, deep=True): loader.construct_object(v, deep=True) for k, v in node.value}

    Loader.add_constructor("tag:yaml.org,2002:map", mapping)
    try:
        reading = Loader(text)
        try:
            data = reading.get_single_data()
        finally:
            reading.dispose()
        _count(data, 0)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        said = ", ".join(filter(None, (error.context, error.problem)))
        line = 0 if mark is None else mark.line + 1
        raise YamlFault(f"is not valid YAML: {said}", "mend that line, or the one above", line) from error
    except YamlFault:
        raise
    except (yaml.YAMLError, RecursionError, TypeError, ValueError) as error:
        raise YamlFault(f"is not valid YAML: {error}", "write plain keys and values") from error
    return data


def _count(value: Any, seen: int) -> int:
    seen += 1
    if seen > MOST_NODES:
        raise YamlFault(f"holds more than {MOST_NODES} values", "is it the right file?")
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for each in inner:
        seen = _count(each, seen)
    return seen


class YamlLines:
    """Tells the line of each value of a YAML text.

    Args:
        text: the text, which :func:`read_yaml` has read.

    Example:
        >>> lines = YamlLines("a:\\n  - b: 1\\n    c: 2")
        >>> lines.of(["a", 0, "c"]), lines.of(["a", 7])
        (3, 1)
    """

    def __init__(self, text: str) -> None:
        import yaml

        self._root = yaml.compose(text, yaml.SafeLoader)

    def of(self, path: Path) -> int:
        """Return the line of a value, from 1; of the last step that is there; 0 when there is none."""
        import yaml

        node, line = self._root, 0
        for step in path:
            if isinstance(node, yaml.MappingNode):
                pairs = [(key.start_mark.line, value) for key, value in node.value if key.value == str(step)]
            elif isinstance(node, yaml.SequenceNode) and isinstance(step, int):
                pairs = [(value.start_mark.line, value) for value in node.value[step : step + 1]]
            else:
                pairs = []
            if not pairs:
                return line
            [(at, node)] = pairs
            line = at + 1
        return line

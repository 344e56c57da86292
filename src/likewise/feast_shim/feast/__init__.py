"""Stands in for Feast in the programs that ``likewise run`` starts: importing it makes ``feast`` mean Likewise."""

if __name__ == "feast":
    try:
        import likewise.as_feast  # noqa: F401 - which puts Likewise's own module in the place of this one
    except ModuleNotFoundError as missing:
        if missing.name != "likewise":
            raise
        import sys

        raise ImportError(
            f"likewise run: the Python at {sys.executable} has no Likewise, which 'feast' stands for here. "
            "Install it there (pip install likewise), or start the program with the Python that has it"
        ) from missing

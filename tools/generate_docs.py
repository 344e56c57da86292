"""Write the reference pages: docs/cli.md from the commands themselves, docs/configuration.md from the config records,
docs/support.md from the classes of the tests.

`python tools/generate_docs.py` writes them; with `--check` it writes nothing, and exits with 1 if one is not current.
tests/cli/test_cli_docs.py checks the same.
"""

from __future__ import annotations

import inspect
import sys
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click
import msgspec

import support_page as support
from likewise.cli.command import Page
from likewise.cli.exits import MEANINGS
from likewise.cli.root import COMMANDS, LATER, cli
from likewise.config import BLOCKS, FILE_NAME, STORES, RepoConfig

DOCS = Path(__file__).parents[1] / "docs"
MADE = "<!-- Made by tools/generate_docs.py: change the code, then run `make docs`. -->"
ENVIRONMENT: Mapping[str, str] = {
    "LIKEWISE_FS_YAML_FILE_PATH": "as `-f`, in Python programs too; `FEAST_FS_YAML_FILE_PATH` means the same",
    "LIKEWISE_NOW": "the current time, such as `2024-06-01T00:00:00Z`; for tests, audits and documents",
    "NO_COLOR": "when it is set, output has no colours on a terminal either",
}

INTRODUCTION = f"""
`{FILE_NAME}` lies at the root of a repo. Its keys are Feast's; only `project` has to be given. `likewise init` writes
one with a hint for editors, which then complete and check the keys. `likewise configuration` prints what counts.

The same definitions run with another configuration: `likewise -f prod.yaml apply`, in Python
`FeatureStore(fs_yaml_file="prod.yaml")`, or for both the environment variable `LIKEWISE_FS_YAML_FILE_PATH`. There is
one rule. The file is only read; a relative one is looked for in the working folder. The repo, where definitions lie and
where relative paths in the file start, is the one given with `-c` or `repo_path`; without them, that of the working
folder (itself, one above it, or the only one right below); and where no repo is, the folder of a file that is called
`{FILE_NAME}`, else the working folder.

`${{NAME}}` in a value is that environment variable, `${{NAME:-text}}` the variable or the text. Keep passwords there,
not in the file.
"""


def pages() -> dict[str, str]:
    """Return the text of each page by its file name."""
    made = {"cli.md": cli_page(), "configuration.md": configuration_page(), "support.md": support_page()}
    return {name: _joined(blocks) for name, blocks in made.items()}


def main(arguments: list[str]) -> int:
    """Write the pages, or check them."""
    stale = [name for name, text in pages().items() if _read(DOCS / name) != text]
    if "--check" in arguments:
        for name in stale:
            print(f"docs/{name} is not current; run 'make docs'")
        return 1 if stale else 0
    for name in stale:
        (DOCS / name).write_text(pages()[name], encoding="utf-8")
        print(f"docs/{name} written")
    return 0


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else ""


def _joined(blocks: Iterator[str]) -> str:
    return "\n\n".join(blocks) + "\n"


# The command line


def cli_page() -> Iterator[str]:
    """Yield the blocks of the page about the commands."""
    yield "# Command line"
    yield MADE
    root = click.Context(cli, info_name="likewise")
    yield from _paragraphs(cli.help or "")
    yield "`likewise COMMAND --help` says the same as this page, with the examples."
    yield _table(["option", "what it does"], _options(cli, root))
    yield "`--chdir`, `--output` and `--debug` may stand after the command as well."
    yield _table(["environment variable", "what it does"], ((f"`{name}`", what) for name, what in ENVIRONMENT.items()))
    yield "## Exit codes"
    yield _table(["code", "meaning"], ((f"`{code.value}`", what) for code, what in MEANINGS.items()))
    yield "`likewise run` exits with the code of the program it ran."
    yield from _paragraphs(
        """With `--output json` an error is one JSON object too, on the last line of standard error, and standard
        output stays empty: `{"error": {"type": "NotFound", "message": "…", "cure": "…"}}`. When a repo breaks rules it
        has a list `problems` besides, each with `what`, `cure`, `file` and `line`."""
    )
    for title, names in COMMANDS.items():
        yield f"## {title}"
        for name in names:
            command = cli.get_command(root, name)
            assert command is not None
            yield from _command(command, click.Context(command, info_name=name, parent=root), 3)
    yield "## Later"
    later = ", ".join(f"`{name}`" for name in LATER)
    yield from _paragraphs(f"These commands of Feast come in a later version, and say so: {later}.")


def _command(command: click.Command, ctx: click.Context, level: int) -> Iterator[str]:
    yield f"{'#' * level} {ctx.command_path}"
    yield from _paragraphs(command.help or "")
    if isinstance(command, click.Group):
        for name in command.list_commands(ctx):
            below = command.get_command(ctx, name)
            assert below is not None
            yield from _command(below, click.Context(below, info_name=name, parent=ctx), level + 1)
        return
    yield f"```text\n{' '.join([ctx.command_path, *command.collect_usage_pieces(ctx)])}\n```"
    yield from filter(None, [_table(["option", "what it does"], _options(command, ctx))])
    if isinstance(command, Page):
        for _, lines in command.footer:
            yield "```shell\n" + "\n".join(f"# {words}\n{line}" for line, words in lines) + "\n```"


def _paragraphs(text: str) -> Iterator[str]:
    for paragraph in inspect.cleandoc(text).split("\n\n"):
        yield textwrap.fill(" ".join(paragraph.split()), 120, break_on_hyphens=False)


def _options(command: click.Command, ctx: click.Context) -> Iterator[tuple[str, str]]:
    for param in command.get_params(ctx):
        shown = isinstance(param, click.Option) and not param.hidden and "--help" not in param.opts
        if not shown or (param.name == "output" and command is not cli):
            continue
        record = param.get_help_record(ctx)
        if record is not None:
            yield f"`{record[0]}`", record[1].replace("  [default: ", " [default: ")


def _table(heads: list[str], rows: Iterator[tuple[str, ...]]) -> str:
    """Return a table; empty when it has no rows."""
    body = ["| " + " | ".join(_cell(text) for text in row) + " |" for row in rows]
    rule = "| " + " | ".join("---" for _ in heads) + " |"
    return "\n".join(["| " + " | ".join(heads) + " |", rule, *body]) if body else ""


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


# The configuration


def configuration_page() -> Iterator[str]:
    """Yield the blocks of the page about the configuration file."""
    yield "# Configuration"
    yield MADE
    yield from _paragraphs(INTRODUCTION)
    yield _table(["key", "type", "default", "what it is"], _keys(RepoConfig))
    for key, (record, short) in BLOCKS.items():
        yield f"## {key}"
        words = inspect.cleandoc(record.__doc__ or "")
        bare = f" A bare text, `{key}: text`, is its `{short}`." if short else ""
        yield f"{words}{bare}"
        yield _table(["key", "type", "default", "what it is"], _keys(record))
        if key == "online_store":
            yield from _stores()


def _stores() -> Iterator[str]:
    for kind, record in STORES.items():
        yield f"### online_store: {kind}"
        yield inspect.cleandoc(record.__doc__ or "")
        yield _table(["key", "type", "default", "what it is"], _keys(record))


def _keys(record: type[msgspec.Struct]) -> Iterator[tuple[str, str, str, str]]:
    described = msgspec.inspect.type_info(record)
    assert isinstance(described, msgspec.inspect.StructType)
    for field in described.fields:
        words = ""
        kind = field.type
        if isinstance(kind, msgspec.inspect.Metadata):
            words = str((kind.extra_json_schema or {}).get("description", ""))
            kind = kind.type
        block = isinstance(kind, msgspec.inspect.StructType)
        yield f"`{field.name}`", "keys" if block else _type(kind), "" if block else _default(field), words


def _type(kind: msgspec.inspect.Type) -> str:
    match kind:
        case msgspec.inspect.StrType():
            return "text"
        case msgspec.inspect.BoolType():
            return "true or false"
        case msgspec.inspect.IntType():
            return f"whole number{_bounds(kind.ge, kind.gt)}"
        case msgspec.inspect.FloatType():
            return f"number{_bounds(kind.ge, kind.gt)}"
        case msgspec.inspect.UnionType():
            return " or ".join(_type(part) for part in kind.types if not isinstance(part, msgspec.inspect.NoneType))
        case msgspec.inspect.Metadata():
            return _type(kind.type)
    return "anything"


def _bounds(least: float | None, above: float | None) -> str:
    if least is not None:
        return f", at least {least:,}"
    return f", above {above:g}" if above is not None else ""


def _default(field: msgspec.inspect.Field) -> str:
    value: Any = field.default
    if field.required:
        return "required"
    if value is None or value == "" or value is msgspec.NODEFAULT:  # the last: a default that is made anew, empty
        return "none"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


# What is tested on what


def support_page() -> Iterator[str]:
    """Yield the blocks of the page about what each backend is tested on."""
    yield "# What is tested, and on what"
    yield MADE
    yield from _paragraphs(
        f"""Every backend passes the suite of its kind, which ships in `likewise.testing` and is there for backends of
        your own ([extending](extending.md)): {support.suite_sizes()}, among them generated histories held
        against an oracle or a model, writers and readers at once, and processes that are killed. Each row is a class of
        the tests, in its own words; a type without one is listed as only compiled.

        In CI a server that is missing fails its tests. Elsewhere they are skipped, and say why. Versions are those of
        uv.lock; with a server on PATH, it may be another one. What is tested beyond the suites, guarantee by
        guarantee, with its counts: [guarantees](guarantees.md)."""
    )
    heads = ["type", "tested on", "which is", "how", "left out of the suite", "only compiled for"]
    for folder, (title, _) in support.KINDS.items():
        yield f"## {title}"
        yield _table(heads, support.rows(folder))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

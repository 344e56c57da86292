"""The command line: ``likewise``, with Feast's verbs.

``root.py`` has the table of all commands, ``commands/`` has the commands, a module for each kind of thing they do. A
command is imported when it is called or when help lists it, and imports what is slow (pandas, DuckDB) when it runs.
"""

from __future__ import annotations

from typing import NoReturn


def main() -> NoReturn:
    """Run the command line on this process's arguments, and exit with a code of :mod:`likewise.cli.exits`."""
    from likewise.cli.root import cli

    cli.main(prog_name="likewise")

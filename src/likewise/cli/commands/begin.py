"""Commands to begin with: init, demo, run."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from likewise.cli.command import SETTINGS, Page, pass_session, verb
from likewise.cli.completion import template_names
from likewise.cli.output import print_json, print_table
from likewise.cli.session import Session

if TYPE_CHECKING:
    from likewise.cli.init import Template

REPO = "feature_repo"
"""What a repo is called when nobody says."""


@verb(
    "init",
    ("likewise init my_repo", "a small repo with data, in the folder my_repo"),
    ("likewise init -t payments cards", "the repo of the demo: card payments and fraud"),
    ("likewise init --templates", "what there is to begin with"),
    ("likewise init .", "in the working folder"),
)
@click.argument("name", required=False)
@click.option(
    "-t",
    "--template",
    metavar="NAME",
    default="minimal",
    show_default=True,
    shell_complete=template_names,
    help="What to begin with.",
)
@click.option("-m", "--minimal", is_flag=True, hidden=True, help="As Feast has it: the smallest template.")
@click.option("--templates", is_flag=True, help="List the templates, and make nothing.")
@pass_session
def init(session: Session, name: str | None, template: str, minimal: bool, templates: bool) -> None:
    """Make a feature repo in a new folder.

    It holds definitions, made-up data and a README with commands to try. NAME is the folder, and names the project;
    without one it is feature_repo. What the folder holds already stays.
    """
    from likewise.cli.init import create_repo, find_template, project_name

    if templates:
        _list_templates(session)
        return
    chosen = find_template("minimal" if minimal else template)
    target = session.start() / name if name else _free_name(session.start())
    files = create_repo(target, chosen.name, project_name(target))
    if session.json:
        print_json({"folder": str(target), "template": chosen.name, "files": [str(file) for file in files]})
        return
    shown = _from_here(target)
    session.say(f"Made the feature repo {shown} from the template {chosen.name!r}: {chosen.words}.")
    _print_next_steps(shown, chosen)


def _list_templates(session: Session) -> None:
    from likewise.cli.init import TEMPLATES

    if session.json:
        print_json([{"name": each.name, "description": each.words} for each in TEMPLATES.values()])
    else:
        print_table(["TEMPLATE", "WHAT IT IS"], [(each.name, each.words) for each in TEMPLATES.values()])


def _free_name(folder: Path) -> Path:
    """Return the first of feature_repo, feature_repo_2 and so on that is not there."""
    number = 1
    while True:
        found = folder / (REPO if number == 1 else f"{REPO}_{number}")
        if not found.exists():
            return found
        number += 1


def _from_here(target: Path) -> str:
    shown = os.path.relpath(target)
    return str(target) if shown.startswith("..") else shown


def _print_next_steps(folder: str, template: Template) -> None:
    keys = " ".join(f"-e {key}={value}" for key, value in template.request.items())
    steps = [] if folder == "." else [f"cd {shlex.quote(folder)}"]
    steps += ["likewise apply", "likewise materialize-incremental"]
    steps.append(f"likewise get-online-features -f {template.service} {keys}")
    click.echo("\nNext:")
    for step in steps:
        click.echo(f"  {step}")
    click.echo("\nREADME.md there says more.")


@verb(
    "demo",
    ("likewise demo", "200,000 card payments, in about a minute"),
    ("likewise demo --size 20000", "a smaller world, in some seconds"),
    ("likewise demo --folder cards", "keep the feature repo, to look around in it"),
)
@click.option(
    "--size",
    type=int,
    metavar="N",
    default=200_000,
    show_default=True,
    help="How many payments; at least 1,000. Below some 10,000 there is too little fraud to judge a model by.",
)
@click.option("--seed", type=int, metavar="N", default=7, show_default=True, help="Another seed is another world.")
@click.option("--folder", type=click.Path(path_type=Path), metavar="DIR", help="Make the repo here, and keep it.")
@pass_session
def demo(session: Session, size: int, seed: int, folder: Path | None) -> None:
    """Run the whole road on made-up card payments.

    That is: apply, training set, model, materialize, online scores. Needs scikit-learn: pip install "likewise[demo]".
    """
    from likewise.cli.demo import run_demo

    outcome = run_demo(size, seed, folder, echo=session.say)
    if session.json:
        print_json(
            {
                "payments": size,
                "learned": outcome.learned,
                "judged": outcome.judged,
                "auc": outcome.auc,
                "average_precision": outcome.average_precision,
                "compared": outcome.compared,
                "seconds": round(outcome.seconds, 3),
            }
        )


@click.command(
    "run",
    cls=Page,
    footer=[
        (
            "Examples",
            [
                ("likewise run train.py --epochs 3", "a Python program, with its own options"),
                ("likewise run -m pytest tests", "a module"),
                ("likewise run make features", "any command; 'feast' in it is Likewise, too"),
            ],
        )
    ],
    context_settings={**SETTINGS, "ignore_unknown_options": True, "allow_interspersed_args": False},
)
@click.argument("program", nargs=-1, type=click.UNPROCESSED, required=True)
@pass_session
@click.pass_context
def run(ctx: click.Context, session: Session, program: tuple[str, ...]) -> None:
    """Run a program written for Feast, unchanged.

    In it, feast means Likewise: the module, and the command. Its exit code is the program's own.
    """
    from likewise.cli.run import run_program

    os.chdir(session.start())
    ctx.exit(run_program(program))


COMMANDS: Mapping[str, click.Command] = {"init": init, "demo": demo, "run": run}

"""The demo: card payments from raw data to fraud scores, with nothing but the public interface of the store."""

from __future__ import annotations

import contextlib
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from likewise import FeatureStore, FixedClock
from likewise.cli.fraud_model import TRUTH, FraudModel, fit_model, need_scikit_learn
from likewise.cli.init import create_repo
from likewise.cli.payments import LABEL_DELAY
from likewise.cli.world import SETTLED_AFTER, World, write_world
from likewise.core.errors import LikewiseError, RequestError
from likewise.jobs.materialize import Event

SERVICE = "fraud_v1"
KEYS = ["customer_id", "terminal_id"]
WARM_UP = timedelta(days=30)
"""How long the world runs before its payments are learned from, so that the longest windows are full."""
HELD_OUT = timedelta(days=30)
"""How much of the latest known truth the model is judged by, and never sees."""
OLDEST = timedelta(days=3_650)
"""How long before the world begins the oldest account was opened, at most."""
MOST_LEARNED = 300_000
"""How many payments the model learns from at most; of more it takes every second, third and so on."""
ASKED = 500
"""How many payments are read online, scored and compared."""
SHOWN = 5
"""How many of them are printed."""
SMALLEST = 1_000
"""The smallest world in which every month has its payments."""
FEW = 20
"""With fewer frauds among them than this, later payments say little of how good a model is."""


@dataclass(frozen=True, slots=True)
class Fitted:
    """The model, and how good it is."""

    model: FraudModel
    """The model itself."""
    learned: int
    """Payments that it learned from."""
    judged: int
    """Later payments that it was judged by."""
    auc: float
    """Area under the ROC curve on the later ones."""
    average_precision: float
    """Average precision on the later ones."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the demo found."""

    world: World
    """The world it made."""
    learned: int
    """Payments that the model learned from."""
    judged: int
    """Later payments that it was judged by."""
    auc: float
    """Area under the ROC curve on the later payments; 0.5 is chance."""
    average_precision: float
    """Average precision on them; their share of fraud is chance."""
    compared: int
    """Values that were read online and offline at the same moment, and were equal."""
    seconds: float
    """How long all of it took."""


def run_demo(
    size: int = 200_000,
    seed: int = 7,
    folder: Path | None = None,
    echo: Callable[[str], None] = print,
    bars: bool | None = None,
) -> Outcome:
    """Make a world of card payments, and take its features from raw data to scores.

    Args:
        size: number of payments, at least 1,000; with some 10,000 there is enough fraud to judge a model by.
        seed: any whole number from 0; the same size and seed give the same world and the same model.
        folder: where the feature repo goes, and stays; None is a temporary folder that is removed.
        echo: prints a line.
        bars: whether bars show how far a step has come; None if standard error, where they are drawn, is a terminal.

    Raises:
        BackendMissing: scikit-learn is not installed.
        RequestError: the size or the seed is out of range, or the folder holds a repo.
        LikewiseError: a value read online is not the one that a training set has.
    """
    began = time.monotonic()
    need_scikit_learn()
    if size < SMALLEST:
        raise RequestError(f"a world of {size:,} payments is too small", cure=f"ask for at least {SMALLEST:,}")
    echo("Card payments, from raw data to fraud scores: what you train on, likewise you serve.")
    show = Show(echo, sys.stderr.isatty() if bars is None else bars)
    with _place(folder) as repo:
        world = _make_world(show, repo, size, seed)
        with _apply(show, repo) as store:
            fitted = _fit(show, _training_set(show, store, world), world)
            now, incoming = _incoming(world)
            store.clock = FixedClock(now)  # what no window needs from now on is not kept
            _materialize(show, store, world, now)
            answer = _serve(show, store, fitted.model, incoming, now)
            compared = _check(show, store, incoming, answer, now)
            compared += _push(show, store, incoming)
    seconds = time.monotonic() - began
    echo(f"offline = online: {compared:,} values compared, 0 differ")
    echo(f"All of it took {seconds:.1f} s.")
    if folder is not None:
        echo(f"The feature repo stays; its README.md says more: {folder}")
    return Outcome(world, fitted.learned, fitted.judged, fitted.auc, fitted.average_precision, compared, seconds)


# What is shown


@dataclass(slots=True)
class Step:
    """One step of the demo while it runs."""

    move: Callable[[float], None]
    """Says how far it has come, from 0 to 1."""
    words: str = ""
    """What it did, in one line."""
    more: list[str] = field(default_factory=list)
    """Further lines."""


class Show:
    """Prints what each step did and how long it took; meanwhile, on a terminal, a bar moves.

    Args:
        echo: prints a line.
        bars: whether there are bars.

    Example:
        >>> show = Show(lambda line: print(line.split("  ")[0]), bars=False)
        >>> with show.step("apply") as step:
        ...     step.words = "7 views"
        1. apply
    """

    def __init__(self, echo: Callable[[str], None], bars: bool) -> None:
        self._echo = echo
        self._bars = bars
        self._steps = 0

    @contextlib.contextmanager
    def step(self, name: str) -> Iterator[Step]:
        """Run a step; print it when it is done."""
        self._steps += 1
        began = time.monotonic()
        with self._bar(name) as move:
            step = Step(move)
            yield step
        seconds = time.monotonic() - began
        self._echo(f"{self._steps}. {name:<13} {step.words}  [{seconds:.1f} s]")
        for line in step.more:
            self._echo(f"{'':<16} {line}")

    @contextlib.contextmanager
    def _bar(self, name: str) -> Iterator[Callable[[float], None]]:
        if not self._bars:
            yield lambda share: None
            return
        from rich.console import Console
        from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

        columns = (SpinnerColumn(), TextColumn(f"{self._steps}. {name:<13}"), BarColumn(), TimeElapsedColumn())
        with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
            task = progress.add_task("", total=None)
            yield lambda share: progress.update(task, total=1.0, completed=share)


# The steps


@contextlib.contextmanager
def _place(folder: Path | None) -> Iterator[Path]:
    if folder is not None:
        yield folder
        return
    with tempfile.TemporaryDirectory(prefix="likewise-demo-") as temporary:
        yield Path(temporary) / "payments"


def _make_world(show: Show, repo: Path, size: int, seed: int) -> World:
    with show.step("world") as step:
        create_repo(repo, "payments", "payments_demo", data=lambda folder: None)
        world = write_world(repo / "data", size, seed, progress=step.move)
        step.words = f"{size:,} payments of {world.customers:,} customers at {world.terminals:,} terminals"
        step.more = [
            f"from {world.start:%Y-%m-%d} to {world.end:%Y-%m-%d}, {world.frauds:,} of them fraud (seed {seed})",
            f"{sum(world.rows.values()):,} rows in {len(world.rows)} Parquet files",
        ]
    return world


def _apply(show: Show, repo: Path) -> FeatureStore:
    with show.step("apply") as step:
        store = FeatureStore(repo_path=repo)
        store.apply()
        views = [view.name for view in [*store.list_feature_views(), *store.list_on_demand_feature_views()]]
        step.words = f"{len(store.list_entities())} entities, {len(views)} views, 1 service"
        step.more = [f"{SERVICE} reads {', '.join(views[:4])},", f"{', '.join(views[4:])}"]
    return store


def _training_set(show: Show, store: FeatureStore, world: World) -> pd.DataFrame:
    with show.step("training set") as step:
        payments = _payments(world)
        labels = pd.read_parquet(world.folder / "labels.parquet", columns=["transaction_id", TRUTH])
        known = payments.merge(labels, on="transaction_id")
        past = known[known["event_timestamp"] >= world.start + WARM_UP]
        training = store.get_historical_features(entity_df=past, features=SERVICE).to_df()
        features = [name for name in training.columns if name not in past.columns]
        step.words = f"{len(training):,} payments x {len(features)} features, each as of the moment of its payment"
    return training


def _payments(world: World) -> pd.DataFrame:
    payments = pd.read_parquet(world.folder / "transactions.parquet")
    return payments.assign(paid_at=payments["event_timestamp"])


def _fit(show: Show, training: pd.DataFrame, world: World) -> Fitted:
    """Fit on the payments whose whole truth was known on a day, and judge by the payments after that day."""
    with show.step("model") as step:
        day = world.end - LABEL_DELAY - HELD_OUT
        truth_from_now_on = world.end - LABEL_DELAY
        paid = training["event_timestamp"]
        past = training[paid < day - LABEL_DELAY]
        later = training[(paid >= day) & (paid < truth_from_now_on)]
        learned = past.iloc[:: -(-len(past) // MOST_LEARNED)]
        features = [name for name in training.columns if name not in _given(training)]
        model = fit_model(learned, [*features, "amount"], world.seed)
        auc, precision = model.quality(later)
        step.words = f"boosted trees, fit on {len(learned):,} payments before {day - LABEL_DELAY:%Y-%m-%d}"
        step.more = [
            f"judged by the {len(later):,} payments of the {HELD_OUT.days} days from {day:%Y-%m-%d}:",
            f"AUC {auc:.3f}, average precision {precision:.3f} (by chance 0.500 and {later[TRUTH].mean():.3f})",
            *_doubt(int(later[TRUTH].sum())),
        ]
    return Fitted(model, len(learned), len(later), auc, precision)


def _doubt(frauds: int) -> list[str]:
    """Say what figures of so few frauds are worth; nothing when there are enough."""
    if frauds >= FEW:
        return []
    some = "only 1 of them is a fraud" if frauds == 1 else f"only {frauds} of them are frauds"
    return [f"{some}, so these figures say little; a larger size has more"]


def _given(frame: pd.DataFrame) -> set[str]:
    """Return the columns that come with a payment and are no features."""
    return {"transaction_id", *KEYS, "event_timestamp", "amount", "paid_at", TRUTH} & set(frame.columns)


def _materialize(show: Show, store: FeatureStore, world: World, now: datetime) -> None:
    with show.step("materialize") as step:
        views = [view.name for view in store.list_feature_views()]

        def report(event: Event) -> None:
            step.move((views.index(event.view) + event.chunk / event.chunks) / len(views))

        with warnings.catch_warnings():  # that the files say what comes after this moment, as the demo needs it
            warnings.filterwarnings("ignore", ".* has rows with event times up to", UserWarning)
            done = store.materialize(world.start - OLDEST, now, views, report=report)
        keys = sum(view.keys for view in done)
        step.words = f"the latest values up to {now:%Y-%m-%d %H:%M} UTC into the online store"
        step.more = [f"{keys:,} keys of {len(done)} views"]


def _incoming(world: World) -> tuple[datetime, pd.DataFrame]:
    """Return noon of the last day, or an earlier one after which some customers paid, and the next payment of each.

    No feature knows such a payment yet, nor one that settles before it does.
    """
    payments, now = _payments(world), world.end - timedelta(hours=12)
    while True:
        unsettled = payments[payments["event_timestamp"] > now - SETTLED_AFTER].drop_duplicates("customer_id")
        found = unsettled[unsettled["event_timestamp"] > now].head(ASKED).reset_index(drop=True)
        if len(found) >= SHOWN or now <= world.start:
            return now, found
        now -= timedelta(days=1)


def _serve(show: Show, store: FeatureStore, model: FraudModel, incoming: pd.DataFrame, now: datetime) -> pd.DataFrame:
    with show.step("serve") as step:
        began = time.monotonic()
        answer = _online(store, incoming, now)
        took = time.monotonic() - began
        scores = model.scores(answer.assign(amount=incoming["amount"]))
        step.words = f"the next {len(incoming)} payments, their features read in {took * 1e3:.0f} ms and scored"
        step.more = _table(answer, incoming, scores)
    return answer


def _online(store: FeatureStore, payments: pd.DataFrame, moment: datetime) -> pd.DataFrame:
    rows = {name: payments[name].tolist() for name in (*KEYS, "amount", "paid_at")}
    return store.get_online_features(features=SERVICE, entity_rows=rows, as_of=moment).to_df()


def _table(answer: pd.DataFrame, incoming: pd.DataFrame, scores: np.ndarray) -> list[str]:
    """Return the most suspicious payments, and the last of all."""
    order = np.argsort(-scores, kind="stable")
    chosen = dict.fromkeys([*order[: SHOWN - 2], *order[-2:]])
    lines = ["customer  terminal   amount  x usual  km from home  visits  score"]
    for row in chosen:
        pair, known = incoming.loc[row], answer.loc[row]
        usual = _number(known["amount_over_mean"], "7.1f")
        lines.append(
            f"{pair['customer_id']:>8}  {pair['terminal_id']:>8}  {pair['amount']:>7.2f}  {usual}"
            f"  {_number(known['km_from_home'], '12.1f')}  {_number(known['visits'], '6.0f')}  {scores[row]:.3f}"
        )
    return lines


def _number(value: Any, form: str) -> str:
    return "-".rjust(int(form.partition(".")[0] or 0)) if pd.isna(value) else format(value, form)


def _check(show: Show, store: FeatureStore, incoming: pd.DataFrame, answer: pd.DataFrame, now: datetime) -> int:
    """Ask for a training set at the moment of the online read; every value must be the same."""
    with show.step("check") as step:
        compared = _same(_offline(store, incoming, now), answer)
        step.words = f"the same {len(incoming)} payments as a training set at {now:%H:%M}: {compared:,} equal values"
    return compared


def _offline(store: FeatureStore, payments: pd.DataFrame, moment: datetime) -> pd.DataFrame:
    asked = payments[[*KEYS, "amount", "paid_at"]].assign(event_timestamp=pd.Timestamp(moment))
    return store.get_historical_features(entity_df=asked, features=SERVICE).to_df()


def _same(offline: pd.DataFrame, online: pd.DataFrame) -> int:
    """Count the values of two answers, after making sure that all are equal."""
    features = [name for name in offline.columns if name not in _given(offline)]
    for name in features:
        left, right = offline[name].astype(object), online[name].astype(object)
        differ = ~((left == right) | (left.isna() & right.isna()))
        if differ.any():
            row = int(np.flatnonzero(differ)[0])
            raise LikewiseError(
                f"offline and online differ in {int(differ.sum())} of {len(left)} values of {name!r}, "
                f"first in row {row}: {left.iloc[row]!r} and {right.iloc[row]!r}",
                cure="this is a defect of Likewise; please report it with the size and the seed of the demo",
            )
    return len(features) * len(offline)


def _push(show: Show, store: FeatureStore, incoming: pd.DataFrame) -> int:
    """Push the first payment when it has settled, and compare again: the push is what history will say."""
    with show.step("push") as step:
        first = incoming.head(1)
        settled = first["event_timestamp"].iloc[0] + SETTLED_AFTER
        store.clock = FixedClock(settled)
        before = _online(store, first, settled)
        store.push("settled", _settled(store, first, settled))
        after = _online(store, first, settled)
        compared = _same(_offline(store, first, settled), after)
        customer, terminal = first[KEYS].iloc[0]
        step.words = f"customer {customer} has paid at terminal {terminal}: the next read knows it"
        step.more = [
            f"{name}: {_number(before[name].iloc[0], form)} -> {_number(after[name].iloc[0], form)}"
            for name, form in (("visits", ".0f"), ("last_amount", ".2f"), ("payments_1h", ".0f"), ("spent_24h", ".2f"))
        ]
    return compared


def _settled(store: FeatureStore, payment: pd.DataFrame, moment: datetime) -> pd.DataFrame:
    """Return what a program tells the store about a payment that went through."""
    wanted = [
        "customer_at_terminal:visits",
        "customer_at_terminal:spent_here",
        "terminal_profile:x",
        "terminal_profile:y",
    ]
    rows = {name: payment[name].tolist() for name in KEYS}
    known = store.get_online_features(features=wanted, entity_rows=rows, as_of=moment).to_df()
    return payment[[*KEYS]].assign(
        event_timestamp=moment,
        created_timestamp=moment,
        last_amount=payment["amount"],
        last_paid_at=payment["paid_at"],
        last_x=known["x"],
        last_y=known["y"],
        visits=known["visits"].fillna(0) + 1,
        spent_here=(known["spent_here"].fillna(0.0) + payment["amount"]).round(2),
    )

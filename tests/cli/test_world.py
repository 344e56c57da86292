from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from likewise.cli.daily import DailySums
from likewise.cli.payments import DAY, DAYS, LABEL_DELAY, SCENARIOS, draw_people
from likewise.cli.world import SCHEMAS, write_world
from likewise.core.errors import RequestError

END = datetime(2024, 6, 30, tzinfo=UTC)
SIZE = 20_000


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A world of 20,000 payments."""
    return write_world(tmp_path_factory.mktemp("world"), SIZE, seed=3, end=END)


def read(world, name):
    """Read one of its files."""
    return pd.read_parquet(world.folder / name)


def test_every_file_has_the_columns_it_says(world):
    """The files have the documented columns and types, and the rows that the world reports."""
    for name, columns in SCHEMAS.items():
        found = pq.read_schema(world.folder / name)
        assert {field.name: field.type for field in found} == columns, name
        assert pq.read_metadata(world.folder / name).num_rows == world.rows[name]


def test_it_has_the_payments_asked_for_in_the_order_of_time(world):
    """The size is the number of payments, all of them between start and end."""
    payments = read(world, "transactions.parquet")
    assert len(payments) == SIZE
    assert payments["event_timestamp"].is_monotonic_increasing
    assert payments["event_timestamp"].min() >= world.start == END - timedelta(days=DAYS)
    assert payments["event_timestamp"].max() < world.end == END
    assert payments["amount"].min() >= 0.5


def test_the_same_seed_gives_the_same_world_on_any_day(world, tmp_path):
    """Size and seed decide everything; another end only shifts the times."""
    later = write_world(tmp_path, SIZE, seed=3, end=END + timedelta(days=100, hours=7))
    for name in SCHEMAS:
        here, there = read(world, name), read(later, name)
        for column in here:
            shift = timedelta(days=100) if here[column].dtype.kind == "M" else None
            moved = here[column] if shift is None else here[column] + shift
            pd.testing.assert_series_equal(moved, there[column])


def test_another_seed_gives_another_world(world, tmp_path):
    """Worlds differ by their seed."""
    other = write_world(tmp_path, SIZE, seed=4, end=END)
    assert not read(other, "transactions.parquet")["amount"].equals(read(world, "transactions.parquet")["amount"])


def test_about_one_payment_in_150_is_fraud_of_three_kinds(world):
    """Fraud is as rare as in life, and each scenario occurs."""
    assert 0.004 < world.frauds / SIZE < 0.011
    assert set(read(world, "labels.parquet")["scenario"]) == set(SCENARIOS)


def test_truth_is_known_late_and_never_from_the_future(world):
    """A label is known after its payment, a week later at the latest, and before the world ends."""
    labels = read(world, "labels.parquet")
    delay = labels["created_timestamp"] - labels["event_timestamp"]
    assert (delay <= LABEL_DELAY).all()
    assert (delay[labels["is_fraud"] == 0] == LABEL_DELAY).all()
    assert (delay[labels["is_fraud"] == 1] < LABEL_DELAY).any()
    assert labels["created_timestamp"].max() < world.end


def test_payments_follow_the_day_and_the_week(world):
    """There is a rush hour, and a busiest day of the week."""
    moments = read(world, "transactions.parquet")["event_timestamp"]
    hours = moments.dt.hour.value_counts()
    assert hours[18] > 10 * hours[3]
    days_left = ((world.end - moments).dt.days % 7).value_counts()
    assert days_left[1] > 1.3 * days_left[0]


def test_customers_pay_at_terminals_they_know(world):
    """Most payments are near home, and many at a terminal where the customer has paid before."""
    payments = read(world, "transactions.parquet").merge(read(world, "customers.parquet"), on="customer_id")
    payments = payments.merge(read(world, "terminals.parquet"), on="terminal_id")
    km = np.hypot(payments["x"] - payments["home_x"], payments["y"] - payments["home_y"])
    assert km.median() < 15
    assert (read(world, "settled/history.parquet")["visits"] > 1).mean() > 0.5


def test_nobody_pays_before_the_account_is_opened(world):
    """A customer's first payment comes after the account was opened, also when that was within the world."""
    first = read(world, "transactions.parquet").groupby("customer_id")["event_timestamp"].min()
    opened = read(world, "customers.parquet").set_index("customer_id")["event_timestamp"]
    assert (opened > world.start).any()
    assert (first >= opened.loc[first.index]).all()


@pytest.mark.parametrize("row", [100, 5_000, 20_000, -1])
def test_spending_is_what_the_payments_of_the_days_before_add_up_to(world, row):
    """A midnight's row counts the whole days before it and nothing of the day that begins."""
    found = read(world, "customer_spending.parquet").iloc[row]
    payments = read(world, "transactions.parquet")
    mine = payments[payments["customer_id"] == found["customer_id"]]
    ago = found["event_timestamp"] - mine["event_timestamp"]
    for days in (1, 7, 30):
        amounts = mine[(ago > timedelta(0)) & (ago <= timedelta(days=days))]["amount"]
        assert found[f"payments_{days}d"] == len(amounts)
        assert found[f"spent_{days}d"] == pytest.approx(amounts.sum(), abs=1e-9)
    month = pd.Series({"mean": amounts.mean(), "max": amounts.max(), "std": amounts.std()})
    kept = found[["mean_amount_30d", "max_amount_30d", "std_amount_30d"]].astype(float)
    np.testing.assert_allclose(kept, month, rtol=1e-9)


def test_spending_without_payments_is_null_not_zero(world):
    """There is no mean of nothing, and no deviation of one."""
    spending = read(world, "customer_spending.parquet")
    assert spending["mean_amount_30d"].isna().equals(spending["payments_30d"] == 0)
    assert spending["std_amount_30d"].isna().equals(spending["payments_30d"] < 2)


def test_risk_counts_only_what_was_known(world):
    """A terminal's risk ends a week before its midnight, and its reports are those that had come in by then."""
    risk = read(world, "terminal_risk.parquet")
    payments = read(world, "transactions.parquet").merge(read(world, "labels.parquet").drop(columns="event_timestamp"))
    found = risk[(risk["terminal_risk_7d"] > 0) & (risk["terminal_reports_7d"] > 0)].iloc[-1]
    here = payments[payments["terminal_id"] == found["terminal_id"]]
    ago = found["event_timestamp"] - here["event_timestamp"]
    known = here[(ago > LABEL_DELAY) & (ago <= LABEL_DELAY + timedelta(days=7))]
    assert found["terminal_risk_7d"] == np.float32(known["is_fraud"].mean())
    assert (known["created_timestamp"] <= found["event_timestamp"]).all()
    since = found["event_timestamp"] - here["created_timestamp"]
    reported = here[(since > timedelta(0)) & (since <= timedelta(days=7))]
    assert found["terminal_reports_7d"] == reported["is_fraud"].sum()


def test_settled_rows_say_what_happened_so_far(world):
    """Visits and amounts of a customer at a terminal run up from payment to payment."""
    settled = read(world, "settled/history.parquet").sort_values("event_timestamp", kind="stable")
    pairs = settled.groupby(["customer_id", "terminal_id"])
    assert (pairs.cumcount() + 1).equals(settled["visits"])
    np.testing.assert_allclose(pairs["last_amount"].cumsum(), settled["spent_here"], rtol=1e-9)
    assert ((settled["event_timestamp"] - settled["last_paid_at"]) == timedelta(seconds=30)).all()


def test_windows_that_end_earlier_wait():
    """With a delay, a day's number counts only after it."""
    sums = DailySums((1, 2), delay=2)
    seen = []
    for day in (1, 10, 100, 1000):
        sums.add(np.array([day]))
        seen.append((int(sums.over(1)[0]), int(sums.over(2)[0])))
    assert seen == [(0, 0), (0, 0), (1, 1), (10, 11)]


def test_progress_runs_up_to_one(tmp_path):
    """Progress is told in growing shares that end at 1."""
    shares = []
    write_world(tmp_path, 1_000, end=END, progress=shares.append)
    assert shares == sorted(shares)
    assert shares[-1] == 1


def test_a_world_grows_with_its_size():
    """Customers and terminals are as many as the payments need."""
    small, large = draw_people(2_000, 1), draw_people(50_000, 1)
    assert len(small.customers.age) == 20
    assert len(large.customers.age) == 500
    assert len(large.terminals.category) == 250


@pytest.mark.parametrize(("size", "seed", "cure"), [(999, 7, "at least 1,000"), (5_000, -1, "from 0")])
def test_a_size_or_seed_out_of_range_is_refused(tmp_path, size, seed, cure):
    """What cannot be made is refused with the cure, and nothing is written."""
    with pytest.raises(RequestError, match=cure):
        write_world(tmp_path / "world", size, seed)
    assert not (tmp_path / "world").exists()


@pytest.mark.parametrize("seed", range(5))
def test_every_month_has_its_fraud_however_small_the_world(seed):
    """In each 30 days before the last whose truth is known somebody cheats, so a model can be fit and judged."""
    payments = draw_people(1_000, seed).payments
    day = payments.time // DAY
    for end in range(DAYS - LABEL_DELAY.days, 30, -30):
        inside = (day >= end - 30) & (day < end)
        assert 0 < np.count_nonzero(payments.scenario[inside]) < np.count_nonzero(inside)

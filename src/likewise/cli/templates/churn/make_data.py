"""Makes the files in data/: 90 days of 200 customers and 30 products. `python make_data.py` renews them."""

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd

CUSTOMERS, PRODUCTS, DAYS, LABELS = 200, 30, 90, 400


def make_data(folder: Path, end: datetime) -> None:
    """Write the data of the repo in ``folder``, the last of it before ``end``."""
    rng = np.random.default_rng(5)
    days = pd.date_range(end=pd.Timestamp(end).normalize(), periods=DAYS, freq="D", unit="us")
    customers = _customers(rng, days)
    (folder / "data").mkdir(exist_ok=True)
    customers.to_parquet(folder / "data" / "customers.parquet", index=False)
    _products(rng, days[::7]).to_parquet(folder / "data" / "products.parquet", index=False)
    _labels(rng, customers).to_parquet(folder / "data" / "labels.parquet", index=False)


def _customers(rng: np.random.Generator, days: pd.DatetimeIndex) -> pd.DataFrame:
    customer = np.tile(np.arange(1, CUSTOMERS + 1), DAYS)
    orders = rng.poisson(rng.gamma(1.5, 2.0, CUSTOMERS)[customer - 1])
    months = rng.integers(0, 60, CUSTOMERS)[customer - 1] + np.repeat(np.arange(DAYS), CUSTOMERS) // 30
    return pd.DataFrame(
        {
            "customer_id": customer,
            "event_timestamp": np.repeat(days, CUSTOMERS),
            "created_timestamp": np.repeat(days + pd.Timedelta(hours=2), CUSTOMERS),
            "orders_90d": orders,
            "mean_order_90d": np.where(orders > 0, rng.lognormal(3.5, 0.5, len(orders)).round(2), np.nan),
            "days_since_order": np.minimum(rng.exponential(90 / (orders + 0.5)), 400).astype("int64"),
            "months_with_us": months,
            "segment": rng.choice(["new", "regular", "loyal"], CUSTOMERS)[customer - 1],
        }
    )


def _products(rng: np.random.Generator, weeks: pd.DatetimeIndex) -> pd.DataFrame:
    product = np.tile(np.arange(1, PRODUCTS + 1), len(weeks))
    return pd.DataFrame(
        {
            "product_id": product,
            "event_timestamp": np.repeat(weeks, PRODUCTS),
            "price": rng.lognormal(3.2, 0.6, PRODUCTS).round(2)[product - 1],
            "rating": np.clip(rng.normal(4.0, 0.6, len(product)), 1, 5).round(2),
            "returned_share": rng.beta(2, 30, len(product)).round(4),
        }
    )


def _labels(rng: np.random.Generator, customers: pd.DataFrame) -> pd.DataFrame:
    """Draw past moments at which it is known by now whether the customer left; who orders little leaves more often."""
    past = customers[customers["event_timestamp"] < customers["event_timestamp"].max() - pd.Timedelta(days=30)]
    drawn = past.iloc[np.sort(rng.choice(len(past), LABELS, replace=False))]
    leaves = 1 / (1 + np.exp(drawn["orders_90d"].to_numpy() - 1.0))
    return pd.DataFrame(
        {
            "customer_id": drawn["customer_id"].to_numpy(),
            "product_id": rng.integers(1, PRODUCTS + 1, LABELS),
            "event_timestamp": (drawn["event_timestamp"] + pd.Timedelta(hours=9)).to_numpy(),
            "left": (rng.random(LABELS) < leaves).astype("int64"),
        }
    )


if __name__ == "__main__":
    make_data(Path(__file__).parent, datetime.now(UTC))

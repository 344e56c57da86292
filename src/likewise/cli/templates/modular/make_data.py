"""Makes the files in data/: 60 days of 100 shoppers and 40 articles. `python make_data.py` renews them."""

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd

SHOPPERS, ARTICLES, DAYS, LOOKS = 100, 40, 60, 6_000
CATEGORIES = np.array(["books", "garden", "kitchen", "music", "sports"])


def make_data(folder: Path, end: datetime) -> None:
    """Write the data of the repo in ``folder``, the last of it before ``end``."""
    rng = np.random.default_rng(3)
    midnight = pd.Timestamp(end).normalize()
    days = pd.date_range(end=midnight, periods=DAYS, freq="D", unit="us")
    (folder / "data").mkdir(exist_ok=True)
    _shoppers(rng, days).to_parquet(folder / "data" / "shoppers.parquet", index=False)
    _articles(rng, days).to_parquet(folder / "data" / "articles.parquet", index=False)
    _looks(rng, midnight).to_parquet(folder / "data" / "looks.parquet", index=False)


def article_id(number: np.ndarray) -> list[str]:
    """Return the article's key for a number from 0: ``a-07``."""
    return [f"a-{each:02d}" for each in number]


def _shoppers(rng: np.random.Generator, days: pd.DatetimeIndex) -> pd.DataFrame:
    shopper = np.tile(np.arange(1, SHOPPERS + 1), DAYS)
    return pd.DataFrame(
        {
            "shopper_id": shopper,
            "event_timestamp": np.repeat(days, SHOPPERS),
            "created_timestamp": np.repeat(days + pd.Timedelta(minutes=20), SHOPPERS),
            "favourite_category": rng.choice(CATEGORIES, SHOPPERS)[shopper - 1],
            "orders_30d": rng.poisson(rng.gamma(2.0, 2.0, SHOPPERS)[shopper - 1]),
            "mean_price_30d": rng.lognormal(3.0, 0.4, len(shopper)).round(2),
        }
    )


def _articles(rng: np.random.Generator, days: pd.DatetimeIndex) -> pd.DataFrame:
    number = np.tile(np.arange(ARTICLES), DAYS)
    return pd.DataFrame(
        {
            "article_id": article_id(number),
            "event_timestamp": np.repeat(days, ARTICLES),
            "category": rng.choice(CATEGORIES, ARTICLES)[number],
            "price": rng.lognormal(3.0, 0.7, ARTICLES).round(2)[number],
            "sold_7d": rng.poisson(rng.gamma(1.5, 8.0, ARTICLES)[number]),
        }
    )


def _looks(rng: np.random.Generator, midnight: pd.Timestamp) -> pd.DataFrame:
    ago = np.sort(rng.integers(1, DAYS * 86_400, LOOKS))[::-1]
    looks = pd.DataFrame(
        {
            "shopper_id": rng.integers(1, SHOPPERS + 1, LOOKS),
            "article_id": article_id((ARTICLES * rng.beta(1.0, 3.0, LOOKS)).astype(int)),
            "looked_at": (midnight - pd.to_timedelta(ago, unit="s")).as_unit("us"),
            "seconds": rng.gamma(2.0, 15.0, LOOKS).round(1),
        }
    )
    pairs = looks.groupby(["shopper_id", "article_id"])
    looks["times_looked"] = pairs.cumcount() + 1
    looks["seconds_looked"] = pairs["seconds"].cumsum().round(1)
    return looks.drop(columns="seconds")


if __name__ == "__main__":
    make_data(Path(__file__).parent, datetime.now(UTC))

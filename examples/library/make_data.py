"""Writes the files that the library's systems would write."""

from pathlib import Path

import numpy as np
import pandas as pd

GENRES = ("crime", "poetry", "travel")
DAYS = pd.date_range("2024-03-01", periods=31, freq="D", tz="UTC")


def main() -> None:
    rng = np.random.default_rng(9)
    keys = pd.MultiIndex.from_product([range(1, 21), GENRES, DAYS], names=["reader_id", "genre", "event_timestamp"])
    loans = keys.to_frame(index=False).sample(frac=0.5, random_state=1)
    loans["loans_90d"] = rng.poisson(4, len(loans))
    loans["mean_days_kept"] = rng.uniform(1, 28, len(loans)).round(1)
    shelves = pd.MultiIndex.from_product([GENRES, DAYS[::7]], names=["kind", "counted_at"]).to_frame(index=False)
    shelves["books"] = rng.integers(100, 900, len(shelves))
    shelves["on_loan"] = (shelves["books"] * rng.uniform(0.1, 0.5, len(shelves))).astype(int)
    folder = Path("data")
    folder.mkdir(exist_ok=True)
    loans.to_parquet(folder / "loans.parquet", index=False)
    shelves.to_csv(folder / "shelves.csv", index=False)
    print(f"wrote {len(loans)} rows of loans and {len(shelves)} of shelves")


if __name__ == "__main__":
    main()

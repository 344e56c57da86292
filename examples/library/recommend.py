"""Ranks the genres for a reader, now; and asks what a training set would have said in the middle of the month."""

import pandas as pd
from feast import FeatureStore

store = FeatureStore(repo_path=".")
genres = ["crime", "poetry", "travel"]
rows = [{"reader_id": 4, "genre": genre} for genre in genres]
now = store.get_online_features("recommend_v1", rows).to_df()
ranked = now.sort_values(["loans_90d", "on_loan"], ascending=False)["genre"].tolist()
print("for reader 4:", ", ".join(ranked))

spine = pd.DataFrame({"reader_id": 4, "genre": genres, "event_timestamp": pd.Timestamp("2024-03-15 12:00", tz="UTC")})
then = store.get_historical_features(spine, ["recommend_v1"]).to_df()
loans = pd.read_parquet("data/loans.parquet")
known = loans[(loans["reader_id"] == 4) & (loans["event_timestamp"] <= spine["event_timestamp"].iloc[0])]
last = known.sort_values("event_timestamp").groupby("genre")["loans_90d"].last()
print("as the files say:", list(then["loans_90d"]) == [last[genre] for genre in genres])

"""What the fraud model reads: the features, and how the payment in question compares with them."""

import numpy as np
import pandas as pd
from features import (
    customer_at_terminal,
    customer_pace,
    customer_profile,
    customer_spending,
    last_payment,
    terminal_profile,
    terminal_risk,
)

from likewise import FeatureService, Field, RequestSource, on_demand_feature_view
from likewise.types import Float64, Int64, UnixTimestamp

payment = RequestSource(
    name="payment",
    schema=[
        Field(name="amount", dtype=Float64),
        Field(name="paid_at", dtype=UnixTimestamp),
    ],
    description="The payment to decide on",
)


@on_demand_feature_view(
    sources=[payment, customer_spending, customer_profile, terminal_profile, last_payment],
    schema=[
        Field(name="amount_over_mean", dtype=Float64),
        Field(name="amount_over_max", dtype=Float64),
        Field(name="amount_deviation", dtype=Float64, description="From the mean, in standard deviations"),
        Field(name="km_from_home", dtype=Float64),
        Field(name="km_from_last", dtype=Float64),
        Field(name="hours_since_last", dtype=Float64),
        Field(name="hour", dtype=Int64, description="Of the day, in UTC"),
    ],
)
def payment_signals(inputs: pd.DataFrame) -> pd.DataFrame:
    """Compare a payment with what its customer usually does, the same way for training and for serving."""
    amount, mean = inputs["amount"], inputs["mean_amount_30d"]
    since_last = inputs["paid_at"] - inputs["last_paid_at"]
    return pd.DataFrame(
        {
            "amount_over_mean": amount / mean,
            "amount_over_max": amount / inputs["max_amount_30d"],
            "amount_deviation": (amount - mean) / (inputs["std_amount_30d"] + 1.0),
            "km_from_home": np.hypot(inputs["x"] - inputs["home_x"], inputs["y"] - inputs["home_y"]),
            "km_from_last": np.hypot(inputs["x"] - inputs["last_x"], inputs["y"] - inputs["last_y"]),
            "hours_since_last": since_last.dt.total_seconds() / 3600.0,
            "hour": inputs["paid_at"].dt.hour,
        }
    )


fraud_v1 = FeatureService(
    name="fraud_v1",
    features=[
        customer_profile[["age", "segment"]],
        terminal_profile[["category"]],
        customer_spending,
        terminal_risk,
        last_payment[["last_amount"]],
        customer_pace,
        customer_at_terminal,
        payment_signals,
    ],
    description="What the fraud model reads",
    owner="risk@example.com",
)

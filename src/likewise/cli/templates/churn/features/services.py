"""What each model reads."""

from features.customer_features import customer_habits, customer_signals
from features.product_features import product_quality

from likewise import FeatureService

churn_v1 = FeatureService(
    name="churn_v1",
    features=[customer_habits, customer_signals, product_quality[["rating", "returned_share"]]],
    description="What the churn model reads",
)

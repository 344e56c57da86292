"""The demo's model: gradient boosted trees over the features of payments. Needs scikit-learn."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from likewise.core.errors import BackendMissing

if TYPE_CHECKING:
    import pandas as pd

Floats = npt.NDArray[np.float64]

TRUTH = "is_fraud"
"""The column that says what turned out to be true: 1 for a fraud, 0 for an honest payment."""


@dataclass(frozen=True, slots=True)
class FraudModel:
    """Trees, and how a payment's features become the numbers they were grown on."""

    features: Sequence[str]
    """The columns it reads, in order."""
    words: Mapping[str, Sequence[str]]
    """For each column of text, the words it knows; any other counts as missing."""
    trees: Any
    """A fitted ``HistGradientBoostingClassifier``; a missing number has a branch of its own in it."""

    def scores(self, frame: pd.DataFrame) -> Floats:
        """Return how likely each payment is a fraud, from 0 to 1.

        Args:
            frame: a row per payment, with the columns that the model reads in any order.
        """
        return np.asarray(self.trees.predict_proba(_numbers(frame, self.features, self.words))[:, 1])

    def quality(self, frame: pd.DataFrame) -> tuple[float, float]:
        """Return (area under the ROC curve, average precision) on payments whose truth is known."""
        from sklearn.metrics import average_precision_score, roc_auc_score

        scores, truth = self.scores(frame), frame[TRUTH].to_numpy()
        return float(roc_auc_score(truth, scores)), float(average_precision_score(truth, scores))


def need_scikit_learn() -> None:
    """Check that scikit-learn is installed.

    Raises:
        BackendMissing: it is not; the message says how to install it.
    """
    if find_spec("sklearn") is None:
        raise BackendMissing("the demo needs scikit-learn", cure="run: pip install 'likewise[demo]'")


def fit_model(frame: pd.DataFrame, features: Sequence[str], seed: int) -> FraudModel:
    """Fit the model.

    Args:
        frame: a row per payment, with its features and its truth.
        features: the columns to learn from: numbers, times of no kind, and text.
        seed: makes the same frame give the same model.
    """
    # Threads of OpenMP that spin while they wait slow each other down many times when the machine is busy.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    from sklearn.ensemble import HistGradientBoostingClassifier

    words = {name: sorted(frame[name].dropna().unique()) for name in features if _is_text(frame[name])}
    trees = HistGradientBoostingClassifier(
        max_iter=80,
        learning_rate=0.09,
        max_leaf_nodes=15,
        min_samples_leaf=40,
        l2_regularization=1.0,
        early_stopping=False,
        random_state=seed,
    )
    trees.fit(_numbers(frame, features, words), frame[TRUTH].to_numpy())
    return FraudModel(tuple(features), words, trees)


def _numbers(frame: pd.DataFrame, features: Sequence[str], words: Mapping[str, Sequence[str]]) -> Floats:
    columns = [
        _codes(frame[name], words[name]) if name in words else frame[name].to_numpy(dtype="float64", na_value=np.nan)
        for name in features
    ]
    return np.column_stack(columns)


def _is_text(column: pd.Series[Any]) -> bool:
    from pandas.api.types import is_numeric_dtype

    return not is_numeric_dtype(column.dtype)


def _codes(column: pd.Series[Any], words: Sequence[str]) -> Floats:
    import pandas as pd

    codes = pd.Index(words).get_indexer(pd.Index(column)).astype(np.float64)
    return np.where(codes < 0, np.nan, codes)

"""Fit one linear model to scikit-learn's diabetes data and score it on the fold held out."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from sklearn.datasets import load_diabetes
from sklearn.linear_model import ElasticNet, Lasso, LinearRegression, Ridge
from sklearn.metrics import r2_score, root_mean_squared_error
from sklearn.model_selection import KFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler


@cache  # one process computes many points: it reads the data once
def load_data() -> tuple[np.ndarray, np.ndarray]:
    """The ten measurements of 442 patients, and how far the disease had gone a year later."""
    features, progression = load_diabetes(return_X_y=True, scaled=False)
    return features, progression


@cache
def split(fold: int) -> tuple[np.ndarray, np.ndarray]:
    """The rows to train on and the rows to test on; the same five folds for every model."""
    five = KFold(n_splits=5, shuffle=True, random_state=0)
    train, test = list(five.split(load_data()[0]))[fold]
    return train, test


def make_model(model: str, alpha: float, l1_ratio: float) -> Any:
    """The named model, not yet fitted."""
    match model:
        case "ols":
            return LinearRegression()
        case "ridge":
            return Ridge(alpha=alpha)
        case "lasso":
            return Lasso(alpha=alpha)
        case "elastic_net":
            return ElasticNet(alpha=alpha, l1_ratio=l1_ratio)
    raise ValueError(f"no model is called {model!r}")


def fit(model: str, fold: int, alpha: float = 1.0, l1_ratio: float = 0.5) -> dict[str, float]:
    """One point of the sweep: train on four folds, test on the fifth. What it returns is what is recorded."""
    features, progression = load_data()
    train, test = split(fold)

    regression = make_model(model, alpha, l1_ratio)
    # Scaled inside the fold: the test rows must not leak into the mean and the spread.
    pipeline = make_pipeline(StandardScaler(), regression).fit(features[train], progression[train])
    predicted = pipeline.predict(features[test])

    return {
        "rmse": float(root_mean_squared_error(progression[test], predicted)),
        "r2": float(r2_score(progression[test], predicted)),
        "nonzero": int(np.count_nonzero(regression.coef_)),
    }

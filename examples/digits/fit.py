"""Teach a classifier to read scikit-learn's handwritten digits, and test it on pictures it has not seen."""

from __future__ import annotations

from functools import cache

import numpy as np
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.svm import SVC


@cache  # one process computes many points: it reads the data once
def load_data() -> tuple[np.ndarray, np.ndarray]:
    """1,797 pictures of 8 x 8 pixels, one a row, and the digit that each shows."""
    pictures, digits = load_digits(return_X_y=True)
    return pictures, digits


def split(seed: int) -> list[np.ndarray]:
    """Pictures to train on, pictures to test on (a quarter), and the digits of both: another draw for each seed."""
    pictures, digits = load_data()
    return list(train_test_split(pictures, digits, test_size=0.25, stratify=digits, random_state=seed))


def forest(trees: int, max_depth: int, max_features: float, seed: int) -> dict[str, float]:
    """One point of grid.yaml. The seed is the point's own: it draws the split and grows the trees."""
    train, test, train_digits, test_digits = split(seed)
    classifier = RandomForestClassifier(
        n_estimators=trees, max_depth=max_depth, max_features=max_features, random_state=seed
    ).fit(train, train_digits)
    return {
        "accuracy": float(classifier.score(test, test_digits)),
        "leaves": int(sum(tree.get_n_leaves() for tree in classifier.estimators_)),
    }


def svm(c: float, gamma: float, components: int, seed: int) -> dict[str, float]:
    """One point of random.yaml: principal components, then a support vector machine on them."""
    train, test, train_digits, test_digits = split(seed)
    machine = SVC(C=c, gamma=gamma)
    classifier = make_pipeline(PCA(components, random_state=seed), machine).fit(train, train_digits)
    return {
        "accuracy": float(classifier.score(test, test_digits)),
        "support_vectors": int(machine.n_support_.sum()),
    }

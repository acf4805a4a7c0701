"""Train a linear classifier of handwritten digits by stochastic gradient descent, epoch by epoch, with checkpoints.

An attempt that is interrupted goes on where the last checkpoint was, and ends with the same numbers, bit for bit:
the state has the classifier, the random generator that shuffles the pictures, and the number of epochs.
"""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.linear_model import SGDClassifier

import sweepfleet as sf
from examples.digits.fit import split

EVERY = 10  # epochs between two checkpoints


def fit(alpha: float, rate: float, epochs: int, seed: int, checkpoint_dir: Path) -> dict[str, float]:
    """One point of sgd.yaml."""
    train, test, train_digits, test_digits = split(seed)
    file = checkpoint_dir / "state.pickle"
    state = pickle.loads(file.read_bytes()) if file.exists() else begin(alpha, rate, seed)  # noqa: S301 - its own file
    classifier, shuffle = state["classifier"], state["shuffle"]
    while state["epoch"] < epochs:
        order = shuffle.permutation(len(train))
        classifier.partial_fit(train[order] / 16, train_digits[order], classes=np.arange(10))
        state["epoch"] += 1
        if state["epoch"] % EVERY == 0:
            new = file.with_suffix(".new")
            new.write_bytes(pickle.dumps(state))
            new.replace(file)  # whole, or not at all
            sf.checkpoint()
    return {
        "accuracy": float(classifier.score(test / 16, test_digits)),
        "weight": float(np.abs(classifier.coef_).mean()),
    }


def begin(alpha: float, rate: float, seed: int) -> dict[str, Any]:
    """The state before the first epoch."""
    classifier = SGDClassifier(loss="log_loss", alpha=alpha, learning_rate="constant", eta0=rate, random_state=seed)
    return {"classifier": classifier, "shuffle": np.random.default_rng(seed), "epoch": 0}

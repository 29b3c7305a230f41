from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

PENALTIES = (3e-5, 1e-4, 3e-4, 1e-3)
TEMPERATURES = np.geomspace(0.25, 4.0, 81)
FOLDS = 5


@dataclass(frozen=True)
class FittedHead:
    weights: Floats
    bias: Floats
    temperature: float
    penalty: float


def fit_head(embeddings: Floats, targets: Ints, labels: int, families: Sequence[str]) -> FittedHead:
    """Logistic regression whose L2 penalty and temperature are chosen by cross-validation.

    Once with folds of single rows and once with folds of whole families, in equal parts: what
    comes later is partly phrased like something here and partly like nothing here.
    """
    dealings = [_folds([str(row) for row in range(len(targets))]), _folds(families)]
    both = np.tile(targets, len(dealings))
    scored = []
    for penalty in PENALTIES:
        logits = np.concatenate(
            [_unseen_logits(embeddings, targets, labels, penalty, folds) for folds in dealings]
        )
        losses = [cross_entropy(logits / temperature, both) for temperature in TEMPERATURES]
        best = int(np.argmin(losses))
        scored.append((losses[best], penalty, float(TEMPERATURES[best])))
    _, penalty, temperature = min(scored)
    weights, bias = _descend(embeddings, targets, labels, penalty)
    return FittedHead(weights, bias, temperature, penalty)


def _unseen_logits(
    embeddings: Floats, targets: Ints, labels: int, penalty: float, folds: Ints
) -> Floats:
    """Each row's logits from a fit on the other folds."""
    logits = np.zeros((len(targets), labels))
    for fold in range(FOLDS):
        outside, inside = folds != fold, folds == fold
        if inside.any() and outside.any():
            weights, bias = _descend(embeddings[outside], targets[outside], labels, penalty)
            logits[inside] = embeddings[inside] @ weights + bias
    return logits


def softmax(logits: Floats) -> Floats:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    result: Floats = powers / powers.sum(axis=1, keepdims=True)
    return result


def cross_entropy(logits: Floats, targets: Ints) -> float:
    chosen = softmax(logits)[np.arange(len(targets)), targets]
    return float(-np.log(np.maximum(chosen, 1e-12)).mean())


def _folds(families: Sequence[str]) -> Ints:
    """Deal whole families, largest first, to the fold that has the fewest rows."""
    names, rows, sizes = np.unique(np.asarray(families), return_inverse=True, return_counts=True)
    fold_of = np.zeros(len(names), np.int64)
    filled = np.zeros(FOLDS, np.int64)
    for family in np.argsort(-sizes, kind="stable"):
        fold_of[family] = int(np.argmin(filled))
        filled[fold_of[family]] += sizes[family]
    result: Ints = fold_of[rows]
    return result


def _descend(
    embeddings: Floats, targets: Ints, labels: int, penalty: float, steps: int = 400
) -> tuple[Floats, Floats]:
    """Nesterov's accelerated gradient on the convex loss; the same result on every run."""
    rows, dimensions = embeddings.shape
    inputs = np.hstack([embeddings, np.ones((rows, 1))])
    wanted = np.eye(labels)[targets]
    # 1 / Lipschitz constant of the gradient; a row's squared norm is 2.
    rate = 1.0 / (1.0 + penalty)
    shrink = np.full((dimensions + 1, 1), penalty)
    shrink[-1] = 0.0
    current: Floats = np.zeros((dimensions + 1, labels))
    previous = current
    for step in range(steps):
        ahead: Floats = current + (current - previous) * (step / (step + 3.0))
        gradient = inputs.T @ (softmax(inputs @ ahead) - wanted) / rows
        previous, current = current, ahead - rate * (gradient + shrink * ahead)
    return current[:-1], current[-1]

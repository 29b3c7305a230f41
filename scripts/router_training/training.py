from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from backends.classifier.head import Floats, Head

Ints = npt.NDArray[np.int64]
Doubles = npt.NDArray[np.float64]

HIDDEN = 128
MOST_STEPS = 1000
BATCH = 256
RATE = 2e-3
DECAY = 0.03
DROPPED = 0.3
NOISE = 0.3
"""Standard deviation of what is added to inputs that are scaled to one of 1."""

TEMPERATURES = np.geomspace(0.25, 4.0, 81)
FOLDS = 5


@dataclass(frozen=True)
class Rows:
    """Embeddings FP32[n, d] with what they are; `weights` say how often a row is drawn."""

    embeddings: Floats
    targets: Ints
    families: Sequence[str]
    weights: Doubles

    def part(self, chosen: npt.NDArray[np.bool_]) -> "Rows":
        families = [name for name, kept in zip(self.families, chosen, strict=True) if kept]
        return Rows(self.embeddings[chosen], self.targets[chosen], families, self.weights[chosen])


def fit_head(rows: Rows, labels: int) -> Head:
    """A head whose temperature is chosen by cross-validation; the same on every run.

    Once with folds of single rows and once with folds of whole families, in equal parts: what
    comes later is partly phrased like something here and partly like nothing here.
    """
    dealings = [_folds([str(row) for row in range(len(rows.targets))]), _folds(rows.families)]
    logits = np.concatenate([_unseen_logits(rows, labels, folds) for folds in dealings])
    targets, weights = np.tile(rows.targets, 2), np.tile(rows.weights, 2)
    losses = [cross_entropy(logits / temperature, targets, weights) for temperature in TEMPERATURES]
    return replace(_descend(rows, labels), temperature=float(TEMPERATURES[np.argmin(losses)]))


def _unseen_logits(rows: Rows, labels: int, folds: Ints) -> Doubles:
    """Each row's logits from a head of the other folds."""
    logits = np.zeros((len(rows.targets), labels))
    for fold in range(FOLDS):
        outside, inside = folds != fold, folds == fold
        if inside.any() and outside.any():
            head = _descend(rows.part(outside), labels)
            found = np.log(np.maximum(head.probabilities(rows.embeddings[inside]), 1e-12))
            logits[inside] = found
    return logits


def softmax(logits: npt.NDArray[Any]) -> npt.NDArray[Any]:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    result: npt.NDArray[Any] = powers / powers.sum(axis=1, keepdims=True)
    return result


def cross_entropy(logits: Doubles, targets: Ints, weights: Doubles) -> float:
    chosen = softmax(logits)[np.arange(len(targets)), targets]
    return float(-np.average(np.log(np.maximum(chosen, 1e-12)), weights=weights))


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


def _descend(rows: Rows, labels: int) -> Head:
    """AdamW on the cross-entropy, with dropout and noise; rows are drawn by their weights."""
    draw = np.random.default_rng(0)
    count, dimensions = rows.embeddings.shape
    scale = np.float32(np.sqrt(dimensions))
    inputs = rows.embeddings * scale
    wanted = np.eye(labels, dtype=np.float32)[rows.targets]
    chances = rows.weights / rows.weights.sum()
    layers: list[Floats] = [
        (draw.normal(size=(dimensions, HIDDEN)) / scale).astype(np.float32),
        np.zeros(HIDDEN, np.float32),
        (draw.normal(size=(HIDDEN, labels)) * 0.1).astype(np.float32),
        np.zeros(labels, np.float32),
    ]
    optimiser = _AdamW(layers)
    steps = min(MOST_STEPS, 300 + count // 16)
    for step in range(steps):
        chosen = draw.choice(count, BATCH, p=chances)
        noise = draw.standard_normal((BATCH, dimensions), np.float32) * np.float32(NOISE)
        kept = (draw.random((BATCH, HIDDEN), np.float32) > DROPPED) / np.float32(1 - DROPPED)
        optimiser.step(
            _gradients(layers, inputs[chosen] + noise, wanted[chosen], kept),
            rate=RATE * (1 - step / steps),
        )
    hidden_weights, hidden_bias, weights, bias = layers
    return Head(hidden_weights * scale, hidden_bias, weights, bias, temperature=1.0)


def _gradients(
    layers: Sequence[Floats], inputs: Floats, wanted: Floats, kept: Floats
) -> list[Floats]:
    hidden_weights, hidden_bias, weights, bias = layers
    before = inputs @ hidden_weights + hidden_bias
    hidden = np.maximum(before, 0) * kept
    of_logits = (softmax(hidden @ weights + bias) - wanted) / np.float32(len(inputs))
    of_hidden = (of_logits @ weights.T) * kept * (before > 0)
    return [inputs.T @ of_hidden, of_hidden.sum(0), hidden.T @ of_logits, of_logits.sum(0)]


class _AdamW:
    """Loshchilov and Hutter 2019, "Decoupled Weight Decay Regularization"; biases don't decay."""

    def __init__(self, layers: Sequence[Floats]) -> None:
        self._layers = layers
        self._mean = [np.zeros_like(layer) for layer in layers]
        self._square = [np.zeros_like(layer) for layer in layers]
        self._steps = 0

    def step(self, gradients: Sequence[Floats], *, rate: float) -> None:
        self._steps += 1
        for place, gradient in enumerate(gradients):
            layer, mean, square = self._layers[place], self._mean[place], self._square[place]
            np.add(0.9 * mean, 0.1 * gradient, out=mean)
            np.add(0.999 * square, 0.001 * gradient * gradient, out=square)
            change = mean / (1 - 0.9**self._steps)
            change /= np.sqrt(square / (1 - 0.999**self._steps)) + 1e-8
            if layer.ndim == 2:
                change += DECAY * layer
            np.subtract(layer, rate * change, out=layer)

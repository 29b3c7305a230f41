from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

BINS = 10


@dataclass(frozen=True)
class Evaluation:
    rows: int
    accuracy: float
    calibration_error: float
    confusion: list[list[int]]
    """confusion[true][predicted]"""

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def evaluate(probabilities: npt.NDArray[Any], targets: npt.NDArray[np.int64]) -> Evaluation:
    predicted = probabilities.argmax(axis=1)
    labels = probabilities.shape[1]
    confusion = np.zeros((labels, labels), np.int64)
    np.add.at(confusion, (targets, predicted), 1)
    return Evaluation(
        rows=len(targets),
        accuracy=float((predicted == targets).mean()),
        calibration_error=calibration_error(probabilities.max(axis=1), predicted == targets),
        confusion=confusion.tolist(),
    )


def calibration_error(confidence: npt.NDArray[Any], correct: npt.NDArray[np.bool_]) -> float:
    """Expected calibration error over ten equal bins of confidence (Naeini et al. 2015)."""
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    gaps = [
        abs(confidence[bins == place].mean() - correct[bins == place].mean())
        * (bins == place).mean()
        for place in np.unique(bins)
    ]
    return float(sum(gaps))


def render_confusion(labels: list[str], confusion: list[list[int]]) -> str:
    width = max(map(len, labels)) + 2
    header = " " * width + "".join(f"{label:>{width}}" for label in labels)
    rows = [
        f"{label:<{width}}" + "".join(f"{count:>{width}}" for count in counts)
        for label, counts in zip(labels, confusion, strict=True)
    ]
    return "\n".join([header, *rows])

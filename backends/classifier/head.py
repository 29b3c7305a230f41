from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Head:
    """Multinomial logistic regression with a temperature (Guo et al. 2017, "On Calibration of
    Modern Neural Networks"): embeddings FP32[n, d] → probabilities FP32[n, labels].
    """

    weights: Floats
    bias: Floats
    temperature: float

    @classmethod
    def load(cls, version_folder: Path) -> "Head":
        path = version_folder / "head.npz"
        if not path.exists():
            raise FileNotFoundError(f"{path} is missing; run scripts/train_router")
        with np.load(path) as arrays:
            return cls(arrays["weights"], arrays["bias"], float(arrays["temperature"]))

    def save(self, version_folder: Path) -> None:
        np.savez(
            version_folder / "head.npz",
            weights=self.weights,
            bias=self.bias,
            temperature=np.float32(self.temperature),
        )

    def probabilities(self, embeddings: Floats) -> Floats:
        logits = (embeddings @ self.weights + self.bias) / self.temperature
        # The largest logit becomes 0, so that exp cannot overflow.
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        result: Floats = (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32)
        return result

from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Head:
    """One hidden layer of rectified units, a softmax, and a temperature (Guo et al. 2017, "On
    Calibration of Modern Neural Networks"): embeddings FP32[n, d] → probabilities
    FP32[n, labels].
    """

    hidden_weights: Floats
    hidden_bias: Floats
    weights: Floats
    bias: Floats
    temperature: float

    @property
    def dimensions(self) -> int:
        return int(self.hidden_weights.shape[0])

    @property
    def labels(self) -> int:
        return int(self.bias.shape[0])

    @classmethod
    def load(cls, version_folder: Path) -> "Head":
        path = version_folder / "head.npz"
        if not path.exists():
            raise FileNotFoundError(f"{path} is missing; run scripts/train_router")
        with np.load(path) as arrays:
            missing = [field.name for field in fields(cls) if field.name not in arrays]
            if missing:
                raise ValueError(f"{path} has no {missing[0]}; make it with scripts/train_router")
            return cls(
                hidden_weights=arrays["hidden_weights"],
                hidden_bias=arrays["hidden_bias"],
                weights=arrays["weights"],
                bias=arrays["bias"],
                temperature=float(arrays["temperature"]),
            )

    def save(self, version_folder: Path) -> None:
        arrays = {field.name: np.float32(getattr(self, field.name)) for field in fields(self)}
        np.savez(version_folder / "head.npz", **arrays)

    def probabilities(self, embeddings: Floats) -> Floats:
        hidden = np.maximum(embeddings @ self.hidden_weights + self.hidden_bias, 0.0)
        logits = (hidden @ self.weights + self.bias) / self.temperature
        # The largest logit becomes 0, so that exp cannot overflow.
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        result: Floats = (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32)
        return result

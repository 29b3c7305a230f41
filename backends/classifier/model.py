import json
import locale
import sys
from pathlib import Path
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils

# Triton's stub starts with an ASCII locale whatever the environment says.
locale.setlocale(locale.LC_ALL, "C.UTF-8")
sys.path.append(str(Path(__file__).resolve().parents[2]))

from backends.classifier.head import Head  # noqa: E402


class TritonPythonModel:
    def initialize(self, args: dict[str, str]) -> None:
        version_folder = Path(args["model_repository"]) / args["model_version"]
        self._head = Head.load(version_folder)
        config = json.loads(args["model_config"])
        for kind, name, size in (
            ("input", "EMBEDDING", self._head.dimensions),
            ("output", "PROBABILITIES", self._head.labels),
        ):
            tensor = next((t for t in config[kind] if t["name"] == name), None)
            if tensor is None or [int(dim) for dim in tensor["dims"]] != [size]:
                found = "none" if tensor is None else f"dims {tensor['dims']}"
                raise pb_utils.TritonModelException(
                    f"{args['model_name']}: head.npz wants {kind} {name} of dims [{size}], "
                    f"config.pbtxt has {found}"
                )

    def execute(self, requests: list[Any]) -> list[Any]:
        """The head once for all rows of all requests of the batch."""
        inputs = [
            pb_utils.get_input_tensor_by_name(request, "EMBEDDING").as_numpy()
            for request in requests
        ]
        probabilities = self._head.probabilities(np.concatenate(inputs))
        ends = np.cumsum([len(rows) for rows in inputs])
        return [
            pb_utils.InferenceResponse([pb_utils.Tensor("PROBABILITIES", rows)])
            for rows in np.split(probabilities, ends[:-1])
        ]

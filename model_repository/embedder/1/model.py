import json
import locale
from pathlib import Path
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils

from .encoder import TextEncoder
from .request_texts import InvalidTextError, decode_rows

# Triton's stub starts with an ASCII locale whatever the environment says.
locale.setlocale(locale.LC_ALL, "C.UTF-8")


class TritonPythonModel:
    def initialize(self, args: dict[str, str]) -> None:
        parameters = json.loads(args["model_config"]).get("parameters", {})
        settings = {
            name.removeprefix("openvino."): value["string_value"]
            for name, value in parameters.items()
            if name.startswith("openvino.")
        }
        version_folder = Path(args["model_repository"]) / args["model_version"]
        self._encoder = TextEncoder(version_folder, settings)
        self._encoder.warm()

    def execute(self, requests: list[Any]) -> list[Any]:
        """Embed the rows of every request of the batch in one go; bad ones fail alone."""
        texts: list[str] = []
        outcomes: list[slice | InvalidTextError] = []
        for request in requests:
            rows = pb_utils.get_input_tensor_by_name(request, "TEXT").as_numpy()
            try:
                decoded = decode_rows(rows)
            except InvalidTextError as error:
                outcomes.append(error)
            else:
                outcomes.append(slice(len(texts), len(texts) + len(decoded)))
                texts.extend(decoded)
        embeddings = self._encoder.encode(texts)
        return [
            _refusal(outcome)
            if isinstance(outcome, InvalidTextError)
            else _response(embeddings[outcome])
            for outcome in outcomes
        ]


def _response(embeddings: np.ndarray[Any, np.dtype[np.float32]]) -> Any:
    return pb_utils.InferenceResponse([pb_utils.Tensor("EMBEDDING", embeddings)])


def _refusal(error: InvalidTextError) -> Any:
    fault = pb_utils.TritonError(str(error), pb_utils.TritonError.INVALID_ARG)
    return pb_utils.InferenceResponse([], fault)

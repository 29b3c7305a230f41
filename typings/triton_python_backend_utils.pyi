"""The part of Triton's Python backend API that the models here use (2.51)."""

from collections.abc import Sequence
from typing import Any

import numpy.typing as npt

class TritonModelException(Exception): ...

class TritonError(Exception):
    UNKNOWN: int
    INTERNAL: int
    NOT_FOUND: int
    INVALID_ARG: int
    UNAVAILABLE: int
    UNSUPPORTED: int
    ALREADY_EXISTS: int
    CANCELLED: int
    def __init__(self, message: str, code: int = ...) -> None: ...
    def code(self) -> int: ...
    def message(self) -> str: ...

class Tensor:
    def __init__(self, name: str, array: npt.NDArray[Any]) -> None: ...
    def name(self) -> str: ...
    def as_numpy(self) -> npt.NDArray[Any]: ...

class InferenceRequest:
    def requested_output_names(self) -> list[str]: ...

class InferenceResponse:
    def __init__(
        self, output_tensors: Sequence[Tensor], error: TritonError | None = None
    ) -> None: ...

class Logger:
    @staticmethod
    def log_info(message: str) -> None: ...
    @staticmethod
    def log_warn(message: str) -> None: ...
    @staticmethod
    def log_error(message: str) -> None: ...

def get_input_tensor_by_name(request: InferenceRequest, name: str) -> Tensor: ...

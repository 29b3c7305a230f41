"""Why a Triton server could not be started or kept.

TritonError
├── ServerNotFoundError    no tritonserver to start
├── UnfitEnvironmentError  numpy, glibc, Python, shared memory or a port is wrong
├── RuntimeInUseError      another launcher holds the runtime folder
├── ServerExitedError      the process ended before it was ready
├── ModelNotLoadedError    a model of the repositories does not load
├── StartTimeoutError      not ready in time
└── ControlError           the server refused or did not answer a control request
"""

from collections.abc import Mapping


class TritonError(Exception):
    """Its message is one sentence for a person."""


class ServerNotFoundError(TritonError):
    pass


class UnfitEnvironmentError(TritonError):
    pass


class RuntimeInUseError(TritonError):
    pass


class ServerExitedError(TritonError):
    """`crashed`: a signal ended it, nothing that it found wrong."""

    def __init__(self, message: str, *, crashed: bool = False) -> None:
        super().__init__(message)
        self.crashed = crashed


class StartTimeoutError(TritonError):
    pass


class ControlError(TritonError):
    pass


class ModelNotLoadedError(TritonError):
    """`reasons` maps each model that did not load to one sentence."""

    def __init__(self, reasons: Mapping[str, str]) -> None:
        self.reasons = dict(reasons)
        super().__init__(
            "; ".join(f"model {name!r} does not load: {why}" for name, why in reasons.items())
        )

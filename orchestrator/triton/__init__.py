"""Starts an embedded Triton server, waits for its models, keeps it answering and stops it."""

from orchestrator.triton.config import Ports, TritonConfig
from orchestrator.triton.errors import (
    ControlError,
    ModelNotLoadedError,
    RuntimeInUseError,
    ServerExitedError,
    ServerNotFoundError,
    StartTimeoutError,
    TritonError,
    UnfitEnvironmentError,
)
from orchestrator.triton.events import Kind, Listener, TritonEvent
from orchestrator.triton.server import Status, TritonServer
from orchestrator.triton.watch import WatchPolicy

__all__ = [
    "ControlError",
    "Kind",
    "Listener",
    "ModelNotLoadedError",
    "Ports",
    "RuntimeInUseError",
    "ServerExitedError",
    "ServerNotFoundError",
    "StartTimeoutError",
    "Status",
    "TritonConfig",
    "TritonError",
    "TritonEvent",
    "TritonServer",
    "UnfitEnvironmentError",
    "WatchPolicy",
]

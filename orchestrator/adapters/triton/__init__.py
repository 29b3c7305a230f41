"""Models that Triton serves, over gRPC.

One `TritonConnection`, or `TritonReplicas` of several servers, is opened in a lifespan and shared
by `TritonLanguageModel` and `TritonRouter`.
"""

from orchestrator.adapters.triton.connection import TritonConnection
from orchestrator.adapters.triton.control import TritonModelControl
from orchestrator.adapters.triton.gauges import TritonGauges
from orchestrator.adapters.triton.language_model import TritonLanguageModel
from orchestrator.adapters.triton.replicas import TritonReplicas
from orchestrator.adapters.triton.replicas_control import TritonReplicasControl
from orchestrator.adapters.triton.router import TritonRouter
from orchestrator.adapters.triton.versions import TritonVersions

__all__ = [
    "TritonConnection",
    "TritonGauges",
    "TritonLanguageModel",
    "TritonModelControl",
    "TritonReplicas",
    "TritonReplicasControl",
    "TritonRouter",
    "TritonVersions",
]

"""Results of runs that have an output schema."""

from __future__ import annotations

import json
from typing import Any

from orchestrator.rpc.pb.fleet.v1 import runs_pb2


def read_json(ended: runs_pb2.Run | runs_pb2.Finished) -> Any:
    """Returns the value that the service has checked against the run's output schema.

    Raises:
        ValueError: the run did not complete, or had no schema and answered with text.
    """
    if ended.state != runs_pb2.RUN_STATE_COMPLETED:
        why = ended.error.message or runs_pb2.RunState.Name(ended.state)
        raise ValueError(f"the run has no result: {why}")
    return json.loads(ended.result)

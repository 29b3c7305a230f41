from __future__ import annotations

import pytest

from orchestrator.client import read_json
from orchestrator.rpc.pb.fleet.v1 import runs_pb2


def test_the_result_of_a_completed_run_is_read() -> None:
    done = runs_pb2.Finished(state=runs_pb2.RUN_STATE_COMPLETED, result='{"total":2}')
    assert read_json(done) == {"total": 2}


def test_a_run_that_failed_has_none_and_says_why() -> None:
    error = runs_pb2.RunError(reason="INVALID_OUTPUT", message="it does not fit")
    failed = runs_pb2.Finished(state=runs_pb2.RUN_STATE_FAILED, error=error)
    with pytest.raises(ValueError, match="no result: it does not fit"):
        read_json(failed)
    with pytest.raises(ValueError, match="no result: RUN_STATE_CANCELLED"):
        read_json(runs_pb2.Run(state=runs_pb2.RUN_STATE_CANCELLED))

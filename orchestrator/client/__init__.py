"""The Python client of fleet.v1: what an agent's program uses."""

from orchestrator.client.errors import CallError
from orchestrator.client.fleet import FleetClient
from orchestrator.client.interrupts import Answer
from orchestrator.client.results import read_json

__all__ = ["Answer", "CallError", "FleetClient", "read_json"]

"""The gRPC orchestrator of agent-fleet."""

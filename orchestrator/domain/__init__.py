"""Types and decisions of the orchestrator, with no I/O, clock or randomness inside."""

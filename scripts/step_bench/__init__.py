"""Measures the orchestrator without models: real processes, real Redis, scripted answers."""

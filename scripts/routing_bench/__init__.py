"""Measures the routing of a step against a real Triton."""

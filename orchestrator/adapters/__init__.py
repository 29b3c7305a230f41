"""Implementations of the ports, one driver each."""

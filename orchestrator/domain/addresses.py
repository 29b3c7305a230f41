"""Addresses to listen on."""

from __future__ import annotations

import ipaddress


def is_loopback(address: str) -> bool:
    """Says whether only this machine can reach `address`: host:port, or a Unix socket."""
    if address.startswith(("unix:", "unix-abstract:")):
        return True
    host = address.rpartition(":")[0].removeprefix("[").removesuffix("]")
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"

"""Which addresses a tool may reach: public ones, and none that only looks public.

The lists follow IANA's special-purpose registries (RFC 6890 and its updates). Forms that
carry an IPv4 address inside an IPv6 one are refused whatever they carry.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

_PUBLIC_6 = IPv6Network("2000::/3")

_REFUSED_4 = {
    "this network": ["0.0.0.0/8"],
    "private": ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"],
    "shared by a carrier (CGNAT)": ["100.64.0.0/10"],
    "loopback": ["127.0.0.0/8"],
    "link-local, with the cloud's metadata": ["169.254.0.0/16"],
    "the cloud's metadata": ["168.63.129.16/32"],  # Azure's, in a public range
    "reserved": [
        "192.0.0.0/24",
        "192.31.196.0/24",
        "192.52.193.0/24",
        "192.175.48.0/24",
        "240.0.0.0/4",
    ],
    "for documentation": ["192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24"],
    "a relay to IPv6": ["192.88.99.0/24"],
    "for benchmarks": ["198.18.0.0/15"],
    "multicast": ["224.0.0.0/4"],
}
_REFUSED_6 = {
    "loopback": ["::1/128"],
    "IPv4 in IPv6": ["::/96", "::ffff:0:0/96", "::ffff:0:0:0/96"],
    "IPv4 in IPv6 (NAT64)": ["64:ff9b::/96", "64:ff9b:1::/48"],
    "IPv4 in IPv6 (6to4)": ["2002::/16"],
    "IPv4 in IPv6 (Teredo)": ["2001::/32"],
    "private": ["fc00::/7"],
    "link-local": ["fe80::/10", "fec0::/10"],
    "multicast": ["ff00::/8"],
    "reserved": ["2001::/23", "2620:4f:8000::/48"],
    "for documentation": ["2001:db8::/32", "3fff::/20"],
}
_NETWORKS_4 = [(IPv4Network(net), why) for why, nets in _REFUSED_4.items() for net in nets]
_NETWORKS_6 = [(IPv6Network(net), why) for why, nets in _REFUSED_6.items() for net in nets]


def refusal(address: str) -> str | None:
    """Says why a tool may not reach `address`, or None when it may."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return "not an IP address"
    return _refusal_4(parsed) if isinstance(parsed, IPv4Address) else _refusal_6(parsed)


def _refusal_4(address: IPv4Address) -> str | None:
    return next((why for network, why in _NETWORKS_4 if address in network), None)


def _refusal_6(address: IPv6Address) -> str | None:
    if address.scope_id is not None:
        return "link-local"
    # An ISATAP address ends in 0:5efe or 200:5efe and an IPv4 address.
    if (int(address) >> 32) & 0xFDFF_FFFF == 0x5EFE:
        return "IPv4 in IPv6 (ISATAP)"
    why = next((why for network, why in _NETWORKS_6 if address in network), None)
    return why or (None if address in _PUBLIC_6 else "reserved")

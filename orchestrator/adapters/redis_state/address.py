"""Where a Redis is, as a URL says: `redis://[user:password@]host:port/0`, `rediss://`, `unix://`."""

from __future__ import annotations

import ssl as tls
from dataclasses import dataclass, field
from urllib.parse import parse_qs, unquote, urlsplit

DEFAULT_PORT = 6379


@dataclass(frozen=True, slots=True)
class Address:
    """`greeting` is what a new connection says first. Its secrets are not shown."""

    host: str = "localhost"
    port: int = DEFAULT_PORT
    path: str = ""  # of a Unix socket, instead of host and port
    ssl: tls.SSLContext | None = None
    greeting: tuple[tuple[str | int, ...], ...] = field(default=(), repr=False)


def parse(url: str) -> Address:
    """Reads a URL. For TLS, `ssl_ca_certs`, `ssl_certfile` and `ssl_keyfile` name files.

    Raises:
        ValueError: it is not such a URL. The message does not show it: it may hold a password.
    """
    try:
        parts = urlsplit(url)
        port = parts.port or DEFAULT_PORT
        database = int(parts.path.strip("/") or 0) if parts.scheme != "unix" else 0
    except ValueError:
        raise ValueError("the Redis URL must be redis://host:port/number") from None
    if parts.scheme not in ("redis", "rediss", "unix"):
        raise ValueError(
            f"the Redis URL begins with {parts.scheme!r}, not with redis://, rediss:// or unix://"
        )
    options = {name: values[-1] for name, values in parse_qs(parts.query).items()}
    database = int(options.get("db", database))
    greeting: list[tuple[str | int, ...]] = []
    if parts.password:
        user = (unquote(parts.username),) if parts.username else ()
        greeting.append(("AUTH", *user, unquote(parts.password)))
    greeting.append(("SELECT", database))
    return Address(
        host=parts.hostname or "localhost",
        port=port,
        path=unquote(parts.path) if parts.scheme == "unix" else "",
        ssl=_context(options) if parts.scheme == "rediss" else None,
        greeting=tuple(greeting),
    )


def _context(options: dict[str, str]) -> tls.SSLContext:
    context = tls.create_default_context(cafile=options.get("ssl_ca_certs"))
    if "ssl_certfile" in options:
        context.load_cert_chain(options["ssl_certfile"], options.get("ssl_keyfile"))
    if options.get("ssl_cert_reqs") == "none":
        context.check_hostname = False
        context.verify_mode = tls.CERT_NONE
    return context

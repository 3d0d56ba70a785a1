"""What the configuration may choose among, and the defaults: names and their checks, without the libraries that use them.

Every command reads the settings, also those that transform nothing; Arrow's functions take a tenth of a second to import.
"""

import ipaddress
from typing import Literal

from core.errors import UsageError

__all__ = ["DEFAULT_HEADERS", "DEFAULT_SECRET_NAMES", "Header", "Network", "network"]

Header = Literal["forwarded_for", "client_address", "forwarded"]
"""Input columns that hold what a header says of the client."""
DEFAULT_HEADERS: tuple[Header, ...] = ("forwarded_for", "client_address", "forwarded")
"""Most proxies append to the first, whatever else they do: what a client writes into the others is then never looked at."""

DEFAULT_SECRET_NAMES = (
    "access_token", "api_key", "auth", "authentication", "authorization", "bearer", "code", "cookie", "credential", "csrf",
    "email", "e_mail", "hmac", "id_token", "jwt", "key", "mail", "nonce", "otp", "pass", "passcode", "passphrase", "passwd",
    "password", "phpsessid", "pin", "pw", "pwd", "refresh_token", "saml_request", "saml_response", "secret", "session",
    "session_id", "sess", "sid", "sig", "signature", "ticket", "token", "xsrf",
)  # fmt: skip
"""Words that make a parameter secret, unless the configuration lists others."""

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_MAPPED = ipaddress.IPv6Network("::ffff:0:0/96")


def network(text: str) -> Network:
    """The network of an address or a CIDR block; of IPv4 mapped into IPv6 that of IPv4.

    :raises UsageError: it is neither, or has bits set beyond its prefix.
    """
    hint = "write an address or a network such as 10.0.0.0/8"
    if "%" in text:
        raise UsageError(f"{text!r} is not an address or network", hint)
    try:
        found = ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise UsageError(f"{text!r} is not an address or network", hint) from None
    if ipaddress.ip_interface(text).ip != found.network_address:
        raise UsageError(f"{text!r} has host bits set", f"write {found}")
    if isinstance(found, ipaddress.IPv6Network) and found.subnet_of(_MAPPED):
        return ipaddress.IPv4Network((int(found.network_address) & 0xFFFF_FFFF, found.prefixlen - 96))
    return found

"""Keys that a recipe names by their environment variable, and where they may go.

A recipe may be somebody else's. Whatever variable it names goes to servers of this machine alone, unless the user has
said otherwise outside of it: PMD_SEND_KEYS="VARIABLE@host,..." in the environment.
"""

from __future__ import annotations

import ipaddress
import os
from urllib.parse import urlsplit

from pmd_agent.errors import PMDError

ALLOWED = "PMD_SEND_KEYS"


def read_key(variable: str, address: str, error: type[PMDError]) -> str:
    """The variable's value, to be sent to `address`, a URL or the name of a provider; empty where it is not set.

    Raises `error` where it would leave this machine without the user's word.
    """
    value = os.environ.get(variable, "")
    host = host_of(address)
    if not value or is_here(host):
        return value
    said = [entry.strip() for entry in os.environ.get(ALLOWED, "").split(",") if entry.strip()]
    if f"{variable}@{host}" in said:
        return value
    raise error(
        f"The recipe sends the key in ${variable} to {host}, which is not this machine: only you can say that it may.",
        f"If it may: export {ALLOWED}={','.join([*said, f'{variable}@{host}'])}",
    )


def host_of(address: str) -> str:
    """Of a URL, with or without its scheme; of a bare name, the name itself."""
    url = urlsplit(address if "//" in address else f"//{address}")
    return (url.hostname or address).lower()


def is_here(host: str) -> bool:
    """Whether that is this machine, and no other can be reached through it."""
    name = host.strip("[]").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False

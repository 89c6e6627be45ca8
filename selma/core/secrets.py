"""Keys and passwords, which no message, log, traceback or file may hold."""

import os
import re

_NAMES = re.compile(r"(?:KEY|TOKEN|SECRET|PASSWORD)$")
SHORTEST = 6  # a word like "none", for a server without keys, is no secret
_IN_ADDRESS = re.compile(r"(?<=://)[^/@\s]+@")


def redact(text: str) -> str:
    """Replace the values of the environment's keys and tokens, and who logs in to an address."""
    for name, value in os.environ.items():
        if _NAMES.search(name) and len(value) >= SHORTEST:
            text = text.replace(value, "***")
    return _IN_ADDRESS.sub("***@", text)

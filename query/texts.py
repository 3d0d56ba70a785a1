"""Text that a terminal may receive: logs are written by strangers."""

import json
import re
from typing import Any

__all__ = ["as_json", "as_text", "harmless", "safe"]

_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\U000e0000-\U000e007f]")
_CONTROL = re.compile("[\x7f-\x9f\u2028-\u202e\u2066-\u2069]")


def as_json(value: Any) -> str:
    """JSON text that a terminal may receive: control characters of every kind are escaped."""
    return harmless(json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")))


def as_text(value: Any) -> str:
    """A plain value as text: strings as they are, all else as JSON."""
    return value if isinstance(value, str) else as_json(value)


def harmless(text: str) -> str:
    """JSON text with those control characters escaped that JSON itself lets pass."""
    return _CONTROL.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def safe(text: str) -> str:
    """The text with every character escaped that could steer a terminal or turn its direction."""
    return _UNSAFE.sub(lambda found: found[0].encode("unicode_escape").decode(), text)

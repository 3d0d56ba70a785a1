"""The device rules of the package user-agents, without the engine that they come with.

Importing ``user_agents.parsers`` imports ua-parser's legacy engine, which compiles 1,400 expressions at once: a quarter of a
second for what is never called here. It is imported as a module that loads when it is first used.
"""

import importlib.util
import sys
from types import ModuleType

import ua_parser

__all__ = ["Browser", "Device", "OperatingSystem", "UserAgent"]


def _load_later(package: ModuleType, name: str) -> None:
    """The standard library's recipe for a lazy import (https://docs.python.org/3/library/importlib.html), for a module of a package.

    The package gets it as an attribute, too: an import that finds none there looks the module up, which would load it.
    """
    full = f"{package.__name__}.{name}"
    spec = importlib.util.find_spec(full)
    if full in sys.modules or spec is None or spec.loader is None:
        return
    spec.loader = importlib.util.LazyLoader(spec.loader)
    module = importlib.util.module_from_spec(spec)
    sys.modules[full] = module
    setattr(package, name, module)
    spec.loader.exec_module(module)


_load_later(ua_parser, "user_agent_parser")

from user_agents.parsers import Browser, Device, OperatingSystem, UserAgent  # noqa: E402 - after the engine was put off

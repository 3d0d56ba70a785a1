"""Browser, system and device out of the User-Agent header.

Promises: names and versions are ua-parser's (https://github.com/ua-parser/uap-core), with its Rust engine; device types are
those of the package user-agents, fed from that engine instead of its own slow one, after the rule for bots below. Each
distinct agent is parsed once and remembered across batches, up to a bound. An agent that is null, empty or ``-`` gives
nulls; one longer than 1,024 characters is read up to there, and stays whole in ``user_agent_original``.

``bot`` is a program without a person before it: what ua-parser calls a spider; an agent with a word, web or e-mail address that
robots carry (crawler, monitor, ``+https://``); an HTTP library or tool (curl, python-requests); and an agent that names no
known system or device and does not claim to be a browser (``Zabbix``, ``Name/1.0``, ``Mozilla/5.0 (compatible; Name)``).
"""

import functools
import re
from importlib.metadata import version as package_version
from itertools import islice

import pyarrow as pa
import pyarrow.compute as pc
import ua_parser
from ua_parser.loaders import load_lazy_builtins

from core.star import DIMENSIONS
from transforms import device_rules
from transforms.base import distinct, put, spread, text_column

__all__ = ["DEVICE_TYPES", "Agents"]

DEVICE_TYPES = ("desktop", "mobile", "tablet", "bot", "other")

_LONGEST = 1024
_REMEMBERED = 50_000
_COLUMNS = DIMENSIONS["browser"]
_UNKNOWN = "Other"

# "Cubot" makes telephones.
_ROBOT_WORDS = (
    r"crawl|spider|slurp|scrap(?:er|ing|y)|fetch(?:er)?\b|monitor|uptime|synthetic|headless|lighthouse"
    r"|selenium|puppeteer|playwright|phantomjs|validator|checker|preview|archiver|scanner|https?:/|\bwww\.|\w@[a-z][\w-]*\.[a-z]"
    r"|\bcurl\b|\bwget\b|\bpython|^java/|go-http-client|libwww|httpclient|node-fetch|\baxios/|\bperl\b|\bphp/|\bruby\b"
)
_ROBOT = re.compile(rf"(?<!cu)bot(?![a-z]{{3}})|{_ROBOT_WORDS}", re.IGNORECASE)
_PERHAPS_ROBOT = f"bot|{_ROBOT_WORDS}"
"""Fits whatever the other fits, of ASCII texts, and can be looked for in many at once: that takes a fiftieth of the time."""

Facts = tuple[str | None, ...]


class _Rules(device_rules.UserAgent):  # type: ignore[misc]
    """The device rules of user-agents over a result of ua-parser's fast engine."""

    def __init__(self, result: ua_parser.DefaultedResult) -> None:
        self.ua_string = result.string
        agent, system, device = result.user_agent, result.os, result.device
        # Not by the package's own helpers: they fail on digits such as a superscript two.
        self.os = device_rules.OperatingSystem(system.family, (), _version(system) or "")
        self.browser = device_rules.Browser(agent.family, (), _version(agent) or "")
        self.device = device_rules.Device(device.family, device.brand, device.model)

    def device_type(self, perhaps_robot: bool) -> str:
        """One of :data:`DEVICE_TYPES`."""
        if self.is_bot or (perhaps_robot and _ROBOT.search(self.ua_string)):
            return "bot"
        if self.is_tablet:
            return "tablet"
        if self.is_mobile:
            return "mobile"
        if self.is_pc:
            return "desktop"
        return "bot" if self._is_nameless_program() else "other"

    def _is_nameless_program(self) -> bool:
        unknown = self.os.family == _UNKNOWN and self.device.family == _UNKNOWN
        browser = self.ua_string.startswith(("Mozilla/", "Opera/")) and "compatible;" not in self.ua_string
        return unknown and not browser


class Agents:
    """Fills the ``user_agent_`` columns from ``user_agent_original``."""

    name = "agents"
    reads = "user_agent_original"
    warnings: tuple[str, ...] = ()

    def __init__(self) -> None:
        self._parse = _engine()
        self._known: dict[str, Facts] = {}

    @property
    def version(self) -> dict[str, str]:
        """``type`` and ``build`` of ua-parser's expressions, release of the device rules and of our own."""
        return {
            "type": "ua-parser",
            "build": package_version("ua-parser-builtins"),
            "user-agents": package_version("user-agents"),
            "rules": "1",
        }

    def apply(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The same rows with the columns of browser, system and device."""
        values, numbers = distinct(text_column(batch, self.reads))
        return put(batch, {name: spread(array, numbers) for name, array in self.columns(values).items()})

    def columns(self, agents: pa.Array) -> dict[str, pa.Array]:
        """The columns for distinct agents, of which one may be null."""
        texts = [(agent or "")[:_LONGEST].strip() for agent in agents.to_pylist()]
        fresh = self._read_all([text for text in dict.fromkeys(texts) if text not in self._known])
        facts = [self._known.get(text) or fresh[text] for text in texts]
        if len(self._known) + len(fresh) > _REMEMBERED:
            self._known.clear()
        self._known.update(islice(fresh.items(), _REMEMBERED))
        columns = zip(*facts, strict=True) if facts else [()] * len(_COLUMNS)
        return {name: pa.array(column, pa.string()) for name, column in zip(_COLUMNS, columns, strict=True)}

    def _read_all(self, texts: list[str]) -> dict[str, Facts]:
        doubtful = pc.match_substring_regex(pa.array(texts, pa.string()), _PERHAPS_ROBOT, ignore_case=True).to_pylist()
        return {text: self._read(text, perhaps or not text.isascii()) for text, perhaps in zip(texts, doubtful, strict=True)}

    def _read(self, text: str, perhaps_robot: bool) -> Facts:
        if text in ("", "-"):
            return (None,) * len(_COLUMNS)
        result = self._parse(text, ua_parser.Domain.ALL).complete()
        full = result.with_defaults()
        return (
            full.user_agent.family,
            _version(result.user_agent),
            result.os.family if result.os else None,
            _version(result.os),
            full.device.family,
            _Rules(full).device_type(perhaps_robot),
        )


@functools.cache
def _engine() -> ua_parser.Resolver:
    """ua-parser's engine: a tenth of a second to make, and without memory of what it parsed."""
    return ua_parser.BestAvailableResolver(load_lazy_builtins())


def _version(found: ua_parser.UserAgent | ua_parser.OS | None) -> str | None:
    """The parts of a version that are known, joined by dots."""
    parts = (found.major, found.minor, found.patch, found.patch_minor) if found else ()
    return ".".join(part for part in parts if part) or None

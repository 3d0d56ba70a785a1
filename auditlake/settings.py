"""Settings: config.toml, then the environment, then the command line; the later wins, also when its value is false or empty.

Every setting has its default here and its line in the shipped config.toml (a test compares the two). Unknown keys, zero
periods, ``hot`` beyond ``keep`` and other nonsense are refused with the key's name. A variable ``AUDITLAKE_A__B`` sets
``a.b``; its value is read as TOML when it is TOML, else as text.
"""

import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from core.errors import UsageError
from core.policy import Period, StreamPolicy
from core.segment import QUARANTINE_SUFFIX, check_stream_name
from jobs.schedule import check_cron
from transforms.choices import DEFAULT_HEADERS, DEFAULT_SECRET_NAMES, Header, network

__all__ = ["MASTER_KEY_VARIABLE", "Settings", "load"]

MASTER_KEY_VARIABLE = "AUDITLAKE_MASTER_KEY"
_PREFIX = "AUDITLAKE_"
_NOT_SETTINGS = {MASTER_KEY_VARIABLE, "AUDITLAKE_DATA_DIR", "AUDITLAKE_CONFIG"}
_KINDS = ("apache", "nginx", "w3c", "csv", "json")
_FORMAT_NAME = re.compile(r"[a-z][a-z0-9_]*\Z")
_SCHEDULES = {"purge": "5 0 * * *", "roll": "20 0 * * *", "compact": "20 1 * * *", "upkeep": "50 1 * * *", "verify": "20 2 * * *"}
_SIZE = re.compile(r"(\d{1,6})\s*(KB|MB|GB)\Z")


def _as_value_error(check: Any) -> Any:
    def checked(value: str) -> str:
        try:
            check(value)
        except UsageError as error:
            raise ValueError(str(error)) from None
        return value

    return checked


def _check_size(text: str) -> None:
    match = _SIZE.match(text)
    if not match or int(match[1]) == 0:
        raise UsageError(f"{text!r} is not a size", "write a number and KB, MB or GB, like '512MB'")


def size_bytes(text: str) -> int:
    """Bytes of a checked size such as ``64MB`` (powers of 1,024)."""
    match = _SIZE.match(text)
    assert match is not None
    return int(match[1]) * {"KB": 2**10, "MB": 2**20, "GB": 2**30}[match[2]]


def _check_schedule(text: str) -> None:
    if text not in _SCHEDULES.values():  # to import what reads them takes a while
        check_cron(text)


def _check_zone(name: str) -> None:
    if name != "UTC":  # the rest is imported only by those who need it
        from ingest.formats.times_zone import check_zone

        check_zone(name)


PeriodText = Annotated[str, AfterValidator(_as_value_error(Period.parse))]
SizeText = Annotated[str, AfterValidator(_as_value_error(_check_size))]
CronText = Annotated[str, AfterValidator(_as_value_error(_check_schedule))]
NetworkText = Annotated[str, AfterValidator(_as_value_error(network)), AfterValidator(lambda text: str(network(text)))]
ZoneText = Annotated[str, AfterValidator(_as_value_error(_check_zone))]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class StreamSettings(_Section):
    """Limits of one stream."""

    hot: PeriodText = "1 month"
    keep: PeriodText = "1 year"
    quarantine: PeriodText = "1 month"

    @model_validator(mode="after")
    def _ordered(self) -> "StreamSettings":
        if Period.parse(self.hot).upper_days > Period.parse(self.keep).lower_days and self.hot != self.keep:
            raise ValueError(f"hot = {self.hot!r} is longer than keep = {self.keep!r}; make hot the shorter")
        if Period.parse(self.quarantine).lower_days > Period.parse(self.keep).upper_days:
            raise ValueError(f"quarantine = {self.quarantine!r} is longer than keep = {self.keep!r}; make it the shorter")
        return self


class IngestSettings(_Section):
    """How files are read."""

    format: str = "auto"
    batch: SizeText = "64MB"
    max_line: SizeText = "1MB"
    timezone: ZoneText = "UTC"
    trusted_proxies: list[NetworkText] = Field(default_factory=list)
    proxy_headers: list[Header] = Field(default_factory=lambda: list(DEFAULT_HEADERS))
    json_fields: dict[str, str] = Field(default_factory=dict)


class CustomFormat(_Section):
    """A format of one's own: exactly one of the first five says what its lines are."""

    apache: str | None = None
    nginx: str | None = None
    w3c: str | None = None
    csv: str | None = None
    json_: dict[str, str] | None = Field(default=None, alias="json")
    description: str | None = None
    escape: str | None = None
    delimiter: str | None = None
    zone: ZoneText | None = None

    @model_validator(mode="after")
    def _one_kind(self) -> "CustomFormat":
        kinds = [kind for kind, value in zip(_KINDS, (self.apache, self.nginx, self.w3c, self.csv, self.json_), strict=True) if value]
        if len(kinds) != 1:
            who = f"{' and '.join(kinds)} say" if kinds else "nothing says"
            raise ValueError(f"{who} what its lines are; give exactly one of {', '.join(_KINDS)}")
        for option, kind in (("escape", "nginx"), ("delimiter", "csv")):
            if getattr(self, option) is not None and kinds != [kind]:
                raise ValueError(f"{option} goes with {kind} only; remove it")
        return self

    def spec(self) -> dict[str, Any]:
        """What it says, as ``ingest.formats.custom`` takes it."""
        return self.model_dump(exclude_none=True, by_alias=True)


class GeoSettings(_Section):
    """GeoIP databases: a path, ``embedded``, or ``off``."""

    city: str = "embedded"
    asn: str = "embedded"


class RedactSettings(_Section):
    """What must not be stored."""

    parameters: list[str] = Field(default_factory=lambda: list(DEFAULT_SECRET_NAMES))


class ArchiveSettings(_Section):
    """Where the archive is; empty for ``<data-dir>/archive``."""

    url: str = ""
    endpoint: str = ""
    region: str = ""
    path_style: bool = False

    @model_validator(mode="after")
    def _known(self) -> "ArchiveSettings":
        if self.url and not re.match(r"(s3://[a-z0-9][a-z0-9.-]{1,62}(/(?!\.\.?(?:/|\Z))[A-Za-z0-9!_.*'()=-]+)*/?|file:///.+)\Z", self.url):
            raise ValueError(f"url = {self.url!r} is neither s3://bucket/prefix nor file:///folder; write one of these")
        return self


class ControlSettings(_Section):
    """The control database; empty for SQLite in the data directory."""

    url: str = ""


class KeySettings(_Section):
    """The master key's file; empty for ``<data-dir>/keys/master.key``."""

    master_key_file: str = ""


class ClockSettings(_Section):
    """How far the clock may go forward between two purges before a person must confirm it."""

    max_jump: PeriodText = "3 days"


class ResourceSettings(_Section):
    """What DuckDB may use."""

    memory: SizeText = "512MB"
    threads: Annotated[int, Field(ge=0, le=1024)] = 0
    spill: SizeText = "20GB"


class QuerySettings(_Section):
    """What a query may use and show."""

    memory: SizeText = "2GB"
    table_rows: Annotated[int, Field(ge=1)] = 1000


class JobSettings(_Section):
    """When a job runs: five cron fields, UTC."""

    schedule: CronText


class JobsSettings(_Section):
    """The schedule."""

    purge: JobSettings = JobSettings(schedule=_SCHEDULES["purge"])
    roll: JobSettings = JobSettings(schedule=_SCHEDULES["roll"])
    compact: JobSettings = JobSettings(schedule=_SCHEDULES["compact"])
    upkeep: JobSettings = JobSettings(schedule=_SCHEDULES["upkeep"])
    verify: JobSettings = JobSettings(schedule=_SCHEDULES["verify"])


class Settings(_Section):
    """All of config.toml."""

    streams: dict[str, StreamSettings] = Field(default_factory=lambda: {"requests": StreamSettings()})
    ingest: IngestSettings = IngestSettings()
    formats: dict[str, CustomFormat] = Field(default_factory=dict)
    geo: GeoSettings = GeoSettings()
    redact: RedactSettings = RedactSettings()
    archive: ArchiveSettings = ArchiveSettings()
    control: ControlSettings = ControlSettings()
    keys: KeySettings = KeySettings()
    clock: ClockSettings = ClockSettings()
    resources: ResourceSettings = ResourceSettings()
    query: QuerySettings = QuerySettings()
    jobs: JobsSettings = JobsSettings()

    @model_validator(mode="after")
    def _named(self) -> "Settings":
        for name in self.streams:
            _as_value_error(check_stream_name)(name)
        if not self.streams:
            raise ValueError("no stream is configured; add [streams.requests]")
        return self

    @model_validator(mode="after")
    def _formats_named(self) -> "Settings":
        if self.formats:
            from ingest.formats import names

            for name in self.formats:
                if not _FORMAT_NAME.match(name):
                    raise ValueError(
                        f"format name {name!r} is not allowed; write a letter, then letters, digits and underscores, lower-case"
                    )
                if name in (*names(), "auto", "unknown"):
                    raise ValueError(f"format name {name!r} is taken; choose another")
        return self

    def policies(self) -> dict[str, StreamPolicy]:
        """The policy of each stream and of its quarantine companion."""
        found = {}
        for name, limits in self.streams.items():
            policy = StreamPolicy(name, *(Period.parse(text) for text in (limits.hot, limits.keep, limits.quarantine)))
            found[name] = found[name + QUARANTINE_SUFFIX] = policy
        return found


def load(config: Path | None, environment: Mapping[str, str] | None = None) -> Settings:
    """The settings of a file (defaults when ``None``), overridden by the environment.

    :raises UsageError: the file cannot be read, or a key or value is refused.
    """
    overrides = _overrides(os.environ if environment is None else environment)
    merged = _merge(_read(config) if config else {}, overrides)
    try:
        return Settings.model_validate(merged)
    except ValidationError as error:
        raise UsageError(_explain(error, str(config or "the defaults"), overrides), "see config.toml for every setting") from None


def _read(config: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(config.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"configuration {config} cannot be read: {error.strerror}", "check --config") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"configuration {config} is not TOML: {error}", "mend that line") from None


def _overrides(environment: Mapping[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for variable, text in environment.items():
        if variable.startswith(_PREFIX) and variable not in _NOT_SETTINGS:
            *sections, key = variable.removeprefix(_PREFIX).lower().split("__")
            place = found
            for section in sections:
                place = place.setdefault(section, {})
                if not isinstance(place, dict):
                    raise UsageError(
                        f"variable {variable} names a part of a setting that another variable sets whole", "unset one of the two"
                    )
            place[key] = _value(text)
    return found


def _value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _merge(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = _merge(merged[key], value) if both else value
    return merged


def _explain(error: ValidationError, file: str, overrides: dict[str, Any]) -> str:
    faults = []
    for fault in error.errors():
        path = [str(part) for part in fault["loc"]]
        key, place = ".".join(path) or "settings", _variable(path, overrides) or file
        if fault["type"] == "extra_forbidden":
            faults.append(f"{place}: unknown key {key}")
        else:
            it_is = "" if path[:1] == ["control"] else f" (it is {_shown(fault['input'])})"  # its URL may hold a password
            faults.append(f"{place}: {key}: {fault['msg'].removeprefix('Value error, ')}{it_is}")
    return "; ".join(faults)


def _variable(path: list[str], overrides: dict[str, Any]) -> str:
    """The environment variable that gave the value at that path; empty when none did."""
    value: Any = overrides
    for part in path:
        value = value.get(part) if isinstance(value, dict) else None
    return "" if value is None or isinstance(value, dict) else f"variable {_PREFIX}{'__'.join(path).upper()}"


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."

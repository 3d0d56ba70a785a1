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

from pydantic import Field, ValidationError, model_validator

from auditlake.privacy_settings import PrivacySettings
from auditlake.serve_settings import ServeSettings, SourceSettings
from auditlake.setting_types import (
    SCHEDULES,
    CronText,
    DownloadText,
    NetworkText,
    PeriodText,
    Section,
    SizeText,
    ZoneText,
    as_value_error,
    size_bytes,
)
from core.errors import UsageError
from core.policy import Period, StreamPolicy
from core.roles import Limits, Role, role
from core.segment import QUARANTINE_SUFFIX, check_stream_name
from jobs.schedule import NIGHT
from transforms.choices import DEFAULT_HEADERS, DEFAULT_SECRET_NAMES, Header

__all__ = ["MASTER_KEY_VARIABLE", "Settings", "load", "size_bytes"]

MASTER_KEY_VARIABLE = "AUDITLAKE_MASTER_KEY"
_PREFIX = "AUDITLAKE_"
_NOT_SETTINGS = {MASTER_KEY_VARIABLE, "AUDITLAKE_DATA_DIR", "AUDITLAKE_CONFIG"}
_KINDS = ("apache", "nginx", "w3c", "csv", "json")
_FORMAT_NAME = re.compile(r"[a-z][a-z0-9_]*\Z")


class StreamSettings(Section):
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


class IngestSettings(Section):
    """How files are read."""

    format: str = "auto"
    batch: SizeText = "64MB"
    max_line: SizeText = "1MB"
    timezone: ZoneText = "UTC"
    trusted_proxies: list[NetworkText] = Field(default_factory=list)
    proxy_headers: list[Header] = Field(default_factory=lambda: list(DEFAULT_HEADERS))
    json_fields: dict[str, str] = Field(default_factory=dict)


class CustomFormat(Section):
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


class GeoSettings(Section):
    """GeoIP databases: a path, ``embedded``, or ``off``; and where the files at these paths are kept up to date from."""

    city: str = "embedded"
    asn: str = "embedded"
    city_url: DownloadText = ""
    asn_url: DownloadText = ""

    @model_validator(mode="after")
    def _placed(self) -> "GeoSettings":
        for name in ("city", "asn"):
            if getattr(self, f"{name}_url") and getattr(self, name) in ("embedded", "off"):
                raise ValueError(f"{name}_url needs a file to update; set {name} to its path")
        return self

    def downloads(self) -> dict[Path, str]:
        """Files that are kept up to date, and from where."""
        return {Path(path): url for path, url in ((self.city, self.city_url), (self.asn, self.asn_url)) if url}


class RedactSettings(Section):
    """What must not be stored."""

    parameters: list[str] = Field(default_factory=lambda: list(DEFAULT_SECRET_NAMES))


class ArchiveSettings(Section):
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


class ControlSettings(Section):
    """The control database; empty for SQLite in the data directory."""

    url: str = ""


class KeySettings(Section):
    """The master key's file; empty for ``<data-dir>/keys/master.key``."""

    master_key_file: str = ""


class ClockSettings(Section):
    """How far the clock may go forward between two purges before a person must confirm it."""

    max_jump: PeriodText = "3 days"


class EvidenceSettings(Section):
    """How long copies of checkpoints are locked where the archive's bucket has Object Lock."""

    lock: PeriodText = "3 years"


class ResourceSettings(Section):
    """What DuckDB may use."""

    memory: SizeText = "512MB"
    threads: Annotated[int, Field(ge=0, le=1024)] = 0
    spill: SizeText = "20GB"


class QuerySettings(Section):
    """What a query may use and show."""

    memory: SizeText = "2GB"
    table_rows: Annotated[int, Field(ge=1)] = 1000
    saved: str = ""
    log_keep: PeriodText = "1 year"


class RoleSettings(Section):
    """What one query of a role may take."""

    memory: SizeText
    threads: Annotated[int, Field(ge=0, le=1024)]
    seconds: Annotated[int, Field(ge=1, le=86_400)]
    rows: Annotated[int, Field(ge=1)]


def _default_limits(name: str) -> RoleSettings:
    return RoleSettings.model_validate(vars(role(name).limits))


class RolesSettings(Section):
    """The limits of the roles that query; a section may give some of the four."""

    analyst: RoleSettings = _default_limits("analyst")
    investigator: RoleSettings = _default_limits("investigator")
    auditor: RoleSettings = _default_limits("auditor")
    admin: RoleSettings = _default_limits("admin")

    @model_validator(mode="before")
    @classmethod
    def _filled(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        known = {name: vars(role(name).limits) for name in cls.model_fields}
        return {name: {**known.get(name, {}), **part} if isinstance(part, dict) else part for name, part in given.items()}

    def limits(self, who: Role) -> Limits | None:
        """The limits of a role; ``None`` for the owner, whom ``[query]`` and ``[resources]`` bind, and for who may not query."""
        found = getattr(self, who.name, None)
        return Limits(**found.model_dump()) if found else None


class SubjectsSettings(Section):
    """Requests of data subjects: when one must be done, how long before that it is warned of, how long one is remembered."""

    deadline: PeriodText = "30 days"
    warn: PeriodText = "7 days"
    keep: PeriodText = "3 years"


class JobSettings(Section):
    """When a job runs: five cron fields, UTC."""

    schedule: CronText


class ScrubSettings(JobSettings):
    """When, and in how many nights the whole archive is read."""

    nights: Annotated[int, Field(ge=1, le=1000)] = 30


class JobsSettings(Section):
    """The schedule, and when a failed job is tried again: after ``retry`` seconds, then twice as many, up to ``retry_longest``."""

    retry: Annotated[int, Field(ge=1, le=86_400)] = 60
    retry_longest: Annotated[int, Field(ge=1, le=86_400)] = 3600
    purge: JobSettings = JobSettings(schedule=SCHEDULES["purge"])
    checkpoint: JobSettings = JobSettings(schedule=SCHEDULES["checkpoint"])
    roll: JobSettings = JobSettings(schedule=SCHEDULES["roll"])
    compact: JobSettings = JobSettings(schedule=SCHEDULES["compact"])
    upkeep: JobSettings = JobSettings(schedule=SCHEDULES["upkeep"])
    verify: JobSettings = JobSettings(schedule=SCHEDULES["verify"])
    geoip: JobSettings = JobSettings(schedule=SCHEDULES["geoip"])
    scrub: ScrubSettings = ScrubSettings(schedule=SCHEDULES["scrub"])

    def schedules(self) -> dict[str, str]:
        """The schedule of each job, in the order of a night."""
        return {name: getattr(self, name).schedule for name in NIGHT}


class Settings(Section):
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
    evidence: EvidenceSettings = EvidenceSettings()
    resources: ResourceSettings = ResourceSettings()
    query: QuerySettings = QuerySettings()
    roles: RolesSettings = RolesSettings()
    jobs: JobsSettings = JobsSettings()
    serve: ServeSettings = ServeSettings()
    privacy: PrivacySettings = PrivacySettings()
    subjects: SubjectsSettings = SubjectsSettings()
    sources: list[SourceSettings] = Field(default_factory=list)

    @model_validator(mode="after")
    def _named(self) -> "Settings":
        for name in self.streams:
            as_value_error(check_stream_name)(name)
        if not self.streams:
            raise ValueError("no stream is configured; add [streams.requests]")
        return self

    @model_validator(mode="after")
    def _sources_named(self) -> "Settings":
        names = [source.name for source in self.sources]
        for source in self.sources:
            if names.count(source.name) > 1:
                raise ValueError(f"sources: the name {source.name!r} is there {names.count(source.name)} times; choose another")
            if source.stream not in self.streams:
                raise ValueError(f"sources: {source.name!r} goes to stream {source.stream!r}, which is not configured")
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

"""Settings of the one long process: where it listens, what it takes in, and the sources that it reads by itself."""

import re
from typing import Annotated, Literal

from pydantic import Field, model_validator

from auditlake.setting_types import PlaceText, Section, SizeText, ZoneText

__all__ = ["ServeSettings", "SourceSettings"]

_NAME = re.compile(r"[a-z][a-z0-9_-]{0,62}\Z")


class ServeSettings(Section):
    """Where ``auditlake serve`` listens, and how much it takes on."""

    http: PlaceText = "127.0.0.1:8480"
    quack: PlaceText = "127.0.0.1:9494"
    max_body: SizeText = "16MB"
    spool: SizeText = "1GB"
    answer_within: Annotated[int, Field(ge=0, le=600)] = 10
    requests_per_second: Annotated[int, Field(ge=0)] = 0
    queries: Annotated[int, Field(ge=1, le=64)] = 8


_URL = re.compile(r"s3://[a-z0-9][a-z0-9.-]{1,62}(/[^\x00-\x1f\x7f]*)?\Z")
_WEB = re.compile(r"https?://[^/@\s]+(/[^\s]*)?\Z")
_EVERY = {"follow": 2, "s3": 60}


class SourceSettings(Section):
    """One source that the server reads by itself."""

    name: str
    kind: Literal["follow", "s3", "syslog"]
    stream: str = "requests"
    format: str = "auto"
    timezone: ZoneText | None = None
    paths: list[str] = Field(default_factory=list)
    url: str = ""
    listen: PlaceText = "off"
    endpoint: str = ""
    region: str = ""
    path_style: bool = False
    queue: str = ""
    max_object: SizeText = "5GB"
    every: Annotated[int | None, Field(ge=0, le=86_400)] = None

    @model_validator(mode="after")
    def _whole(self) -> "SourceSettings":
        if not _NAME.match(self.name):
            raise ValueError(f"name {self.name!r} is not allowed; write a letter, then letters, digits, - and _, lower-case")
        needed = {"follow": "paths", "s3": "url", "syslog": "listen"}
        for kind, key in needed.items():
            given = getattr(self, key) not in ([], "", "off")
            if given != (kind == self.kind):
                raise ValueError(f"a source of kind {self.kind!r} {'has no' if given else 'needs'} {key if given else needed[self.kind]}")
        self._check_bucket()
        if self.every is not None and self.kind not in _EVERY:
            raise ValueError(f"a source of kind {self.kind!r} has no every")
        return self

    def _check_bucket(self) -> None:
        own = ("endpoint", "region", "path_style", "queue", "max_object")
        strange = [name for name in own if getattr(self, name) != type(self).model_fields[name].default]
        if self.kind != "s3" and strange:
            raise ValueError(f"a source of kind {self.kind!r} has no {strange[0]}")
        if self.url and not _URL.match(self.url):
            raise ValueError(f"url = {self.url!r} is no s3://bucket/prefix")
        for name in ("endpoint", "queue"):
            if getattr(self, name) and not _WEB.match(getattr(self, name)):
                raise ValueError(f"{name} is no http:// or https:// address without user and password")

    @property
    def pause(self) -> float:
        """Seconds: how long new lines of a file wait for more, or from one listing of a bucket to the next."""
        return float(_EVERY.get(self.kind, 0) if self.every is None else self.every)

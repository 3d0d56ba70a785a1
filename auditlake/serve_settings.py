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

    @model_validator(mode="after")
    def _whole(self) -> "SourceSettings":
        if not _NAME.match(self.name):
            raise ValueError(f"name {self.name!r} is not allowed; write a letter, then letters, digits, - and _, lower-case")
        needed = {"follow": "paths", "s3": "url", "syslog": "listen"}
        for kind, key in needed.items():
            given = getattr(self, key) not in ([], "", "off")
            if given != (kind == self.kind):
                raise ValueError(f"a source of kind {self.kind!r} {'has no' if given else 'needs'} {key if given else needed[self.kind]}")
        return self

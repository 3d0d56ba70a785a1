"""What settings are made of: texts that are checked when they are read, and sections that know their keys."""

import re
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict

from core.errors import UsageError
from core.policy import Period
from jobs.schedule import check_cron
from transforms.choices import network

__all__ = [
    "SCHEDULES",
    "CronText",
    "DownloadText",
    "NetworkText",
    "PeriodText",
    "PlaceText",
    "Section",
    "SizeText",
    "ZoneText",
    "as_value_error",
    "size_bytes",
]

SCHEDULES = {
    "purge": "5 0 * * *",
    "checkpoint": "15 0 * * *",
    "roll": "20 0 * * *",
    "compact": "20 1 * * *",
    "upkeep": "50 1 * * *",
    "verify": "20 2 * * *",
    "geoip": "50 2 * * *",
    "scrub": "20 3 * * *",
}
"""When each job runs, unless the settings say otherwise."""
_SIZE = re.compile(r"(\d{1,6})\s*(KB|MB|GB)\Z")


def as_value_error(check: Any) -> Any:
    """The check, as pydantic wants its faults."""

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
    if text not in SCHEDULES.values():  # to import what reads them takes a while
        check_cron(text)


def _check_zone(name: str) -> None:
    if name != "UTC":  # the rest is imported only by those who need it
        from ingest.formats.times_zone import check_zone

        check_zone(name)


def _check_place(text: str) -> None:
    host, colon, port = text.rpartition(":")
    if text != "off" and not (colon and host and port.isdecimal() and int(port) < 65536):
        raise UsageError(f"{text!r} is no place to listen", "write host:port, like '127.0.0.1:8480', or 'off'")


def _check_download(text: str) -> None:
    match = re.match(r"(https://[^/@?#\s]+/|file:///)[^\s#]*\Z", text)
    if text and not match:
        raise UsageError(f"{text!r} is no place to download from", "write https://host/path without user and password, or file:///path")


DownloadText = Annotated[str, AfterValidator(as_value_error(_check_download))]
PeriodText = Annotated[str, AfterValidator(as_value_error(Period.parse))]
SizeText = Annotated[str, AfterValidator(as_value_error(_check_size))]
CronText = Annotated[str, AfterValidator(as_value_error(_check_schedule))]
NetworkText = Annotated[str, AfterValidator(as_value_error(network)), AfterValidator(lambda text: str(network(text)))]
PlaceText = Annotated[str, AfterValidator(as_value_error(_check_place))]
ZoneText = Annotated[str, AfterValidator(as_value_error(_check_zone))]


class Section(BaseModel):
    """A table of the settings: frozen, and without keys that it does not know."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

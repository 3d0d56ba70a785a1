"""GeoIP: get newer databases from where the settings say, and put them in the place of the old ones.

For each: ask for it (``If-Modified-Since`` the file's own time) -> write it beside its place, unpacked when it is gzip -> open it as
a database -> rename it over the old one. Whoever has the old one open keeps that until it opens the new one. A file that is no
database, is of another kind, or is too long, changes nothing.
"""

import datetime as dt
import email.utils
import os
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from email.message import Message
from http import HTTPStatus
from pathlib import Path
from typing import IO, Any

from core.errors import AuditlakeError
from ingest.compression import MAGIC_BYTES, DamageError, kind_of, unpack
from jobs.context import Context, Outcome
from transforms.mmdb import Database

__all__ = ["geoip"]

_MOST_BYTES = 2 << 30
_SECONDS = 60.0
_LONGEST_SECONDS = 3600.0
_PIECE = 1 << 18


class _SameScheme(urllib.request.HTTPRedirectHandler):
    """Redirects lead from https to https, or are a fault."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Message, newurl: str
    ) -> urllib.request.Request | None:
        if not newurl.lower().startswith("https://"):
            raise AuditlakeError("it redirects to something else than https", "give the address that it leads to")
        return super().redirect_request(req, fp, code, msg, headers, newurl)  # type: ignore[arg-type] # typeshed wants HTTPMessage


def geoip(ctx: Context, dry_run: bool = False) -> Outcome:
    """Update every database that has a place to come from; one that fails keeps no other from being updated."""
    if dry_run:
        return Outcome("geoip", "planned", (), {"databases": len(ctx.downloads)})
    updated, problems = 0, []
    for number, (path, url) in enumerate(sorted(ctx.downloads.items())):
        ctx.progress(f"updating {path.name}", number, len(ctx.downloads))
        try:
            updated += _update(ctx, path, url)
        except (AuditlakeError, OSError, DamageError, EOFError) as error:
            problems.append(f"{path}: {_why(error)}")
    outcome = "failed" if problems else "done" if updated else "nothing due"
    return Outcome("geoip", outcome, (), {"databases": len(ctx.downloads), "updated": updated}, tuple(problems))


def _update(ctx: Context, path: Path, url: str) -> bool:
    """Whether there is a newer one now."""
    new = path.with_name(f"{path.name}.new")
    try:
        try:
            with _opener().open(_request(path, url), timeout=_SECONDS) as answer:
                changed = _modified(answer.headers)
                _write(ctx, answer, new)
        except urllib.error.HTTPError as error:
            error.close()
            if error.code == HTTPStatus.NOT_MODIFIED:
                return False
            raise
        if path.exists() and _same(path, new):
            _touch(path, changed)
            return False
        _check(path, new)
        _touch(new, changed)
        new.replace(path)
        return True
    finally:
        new.unlink(missing_ok=True)


def _opener() -> urllib.request.OpenerDirector:
    """An opener of https and file alone: what the settings do not name is not asked."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.FileHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
        _SameScheme(),
    ):
        opener.add_handler(handler)
    return opener


def _request(path: Path, url: str) -> urllib.request.Request:
    request = urllib.request.Request(url, headers={"User-Agent": "auditlake"})
    if path.exists():
        request.add_header("If-Modified-Since", email.utils.formatdate(path.stat().st_mtime, usegmt=True))
    return request


def _write(ctx: Context, answer: Any, new: Path) -> None:
    """Write the answer's body durably, unpacked.

    :raises AuditlakeError: it is too long, or comes too slowly.
    """
    size, deadline = 0, time.monotonic() + _LONGEST_SECONDS
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644), "wb") as file:
        for piece in _pieces(answer):
            size += len(piece)
            if size > _MOST_BYTES:
                raise AuditlakeError(f"it is longer than {_MOST_BYTES} bytes", "give the address of a database")
            if time.monotonic() > deadline:
                raise AuditlakeError(f"it did not come within {_LONGEST_SECONDS:g} seconds", "see to the network")
            ctx.progress(f"updating {new.stem}", size, 0)
            file.write(piece)
        file.flush()
        os.fsync(file.fileno())


def _pieces(answer: Any) -> Iterator[bytes]:
    first = answer.read(_PIECE)
    if kind_of(first[:MAGIC_BYTES]) == "gzip":
        yield from unpack("gzip", first, answer)
        return
    while first:
        yield first
        first = answer.read(_PIECE)


def _check(path: Path, new: Path) -> None:
    """Refuse what is no database, or knows other things than the one it replaces.

    :raises AuditlakeError: it is.
    """
    kind = Database(new).type
    if path.exists():
        try:
            known = Database(path).type
        except AuditlakeError:
            return  # a damaged one may be replaced by any
        if _family(known) != _family(kind):
            raise AuditlakeError(f"it is a database of type {kind[:60]!r}, and the one here is {known[:60]!r}", "mend the address")


def _family(kind: str) -> str:
    """``city`` for what locates addresses, ``asn`` for what knows their networks, else the type itself.

    Types: https://dev.maxmind.com/geoip/docs/databases and the metadata of DB-IP's files.
    """
    lower = kind.lower()
    families = {"city": ("city", "country", "enterprise", "location"), "asn": ("asn", "isp", "as-")}
    return next((name for name, words in families.items() if any(word in lower for word in words)), kind)


def _same(one: Path, other: Path) -> bool:
    if one.stat().st_size != other.stat().st_size:
        return False
    with one.open("rb") as first, other.open("rb") as second:
        while piece := first.read(_PIECE):
            if piece != second.read(_PIECE):
                return False
    return True


def _modified(headers: Message) -> dt.datetime | None:
    try:
        return email.utils.parsedate_to_datetime(headers["Last-Modified"])
    except (TypeError, ValueError):
        return None


def _touch(path: Path, changed: dt.datetime | None) -> None:
    if changed:
        os.utime(path, (changed.timestamp(), changed.timestamp()))


def _why(error: BaseException) -> str:
    if isinstance(error, urllib.error.HTTPError):
        return f"the answer is {error.code}"
    if isinstance(error, urllib.error.URLError):
        return f"cannot be reached: {str(error.reason)[:200]}"
    return str(error)[:300]

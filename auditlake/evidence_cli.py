"""``auditlake signing``, ``checkpoint``, ``certificate``, ``pack``: what an auditor is given, and the check of it."""

from __future__ import annotations

import datetime as dt
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from auditlake.app import App, Ordered, common, show
from auditlake.console import say, show_json, show_pairs, show_table
from core.clock import parse_instant, to_iso, utc_day
from core.errors import AuditlakeError, UsageError

if TYPE_CHECKING:
    from auditlake.lake import Lake
    from compliance.certificates import Certificate, Evidence
    from compliance.verifier import Check
    from core.events import Event
    from storage.signing import PublicKey

__all__ = ["GROUPS", "evidence_of", "verify_pack"]

_A_DAY = dt.timedelta(days=1)


# --------------------------------------------------------------------------------------------------------------- signing


@click.group(cls=Ordered)
def signing() -> None:
    """The keys that sign checkpoints, certificates and packs.

    The first is made when something is signed first. Auditors need the fingerprint of the first key, on another way than the evidence.
    """


@signing.command("show")
@common
def signing_show(app: App) -> None:
    """Show every public key there ever was: fingerprint, since when, and which key signed it."""
    with app.reading() as lake:
        keys = lake.context.signing.public()
    if app.as_json:
        show_json(_keys(keys))
    else:
        show_table(["key", "since", "signed by"], [[key.id, key.at, key.previous or "nobody: trust it by its fingerprint"] for key in keys])


@signing.command("rotate")
@click.option("--lost", is_flag=True, help="The key in use is gone: begin with one that nobody signs.")
@click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@common
def signing_rotate(app: App, lost: bool, dry_run: bool, yes: bool) -> None:
    """Put a new key in the place of the one in use, which signs it; the secret half of the old one is destroyed.

    What the old one signed stays good. With --lost auditors must be given the new key's fingerprint.
    """
    with app.changing() as lake:
        keys = lake.context.signing
        if dry_run:
            known = keys.public()
            show(app, {"replaces": known[-1].id if known else None, "rotated": False})
            return
        if not yes and sys.stdin.isatty():
            click.confirm("The secret half of the key in use is destroyed. Rotate?", abort=True)
        made = keys.rotate(lost)
    show(app, {"key": made.id, "replaces": made.previous or None, "rotated": True})


@signing.command("export")
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="File to write.")
@common
def signing_export(app: App, output: Path) -> None:
    """Write the public keys as JSON, as they are in every pack; makes the first key when there is none."""
    import rfc8785

    with app.changing() as lake:
        lake.context.signing.signer()
        keys = lake.context.signing.public()
    _write(output, rfc8785.dumps({"keys": [key.as_json() for key in keys]}) + b"\n")
    show(app, {"file": str(output), "keys": len(keys), "first": keys[0].id})


def _keys(keys: tuple[PublicKey, ...]) -> dict[str, Any]:
    return {"origin": f"auditlake/{keys[0].id[:32]}" if keys else None, "keys": [key.as_json() for key in keys]}


# ------------------------------------------------------------------------------------------------------------ checkpoint


@click.group(cls=Ordered)
def checkpoint() -> None:
    """Signed checkpoints of the ledger; 'auditlake run checkpoint' makes one, as every night does."""


@checkpoint.command("list")
@common
def checkpoint_list(app: App) -> None:
    """List the checkpoints: how many events each is over, when it was made, whether it is copied beside the archive."""
    with app.reading() as lake:
        rows = [{"events": c.size, "at": c.at, "root": c.root, "copied": c.copied} for c in lake.context.checkpoints.every()]
    if app.as_json:
        show_json({"checkpoints": rows})
    else:
        show_table(["events", "at", "root", "copied"], [list(row.values()) for row in rows])


@checkpoint.command("show")
@click.argument("events", type=int, required=False)
@common
def checkpoint_show(app: App, events: int | None) -> None:
    """Print the text of a checkpoint, by the number of its EVENTS, or of the newest. Keep it: a pack can be compared with it."""
    with app.reading() as lake:
        every = lake.context.checkpoints.every()
    found = next((each for each in reversed(every) if events in (None, each.size)), None)
    if found is None:
        which = "no checkpoint yet" if events is None else f"no checkpoint over {events} events"
        raise UsageError(f"there is {which}", "see: auditlake checkpoint list")
    if app.as_json:
        show_json({"events": found.size, "at": found.at, "root": found.root, "note": found.note})
    else:
        sys.stdout.write(found.note)


# ----------------------------------------------------------------------------------------------------------- certificate


@click.group(cls=Ordered)
def certificate() -> None:
    """Certificates of destruction: of each day that was destroyed, and of each person who was erased."""


@certificate.command("list")
@common
def certificate_list(app: App) -> None:
    """List what can be certified, by the number of the ledger's event."""
    from compliance.certificates import listed

    with app.reading() as lake:
        rows = [_row(event) for event in listed(lake.context.ledger)]
    if app.as_json:
        show_json({"certificates": rows})
    else:
        show_table(["certificate", "at", "kind", "what", "rows"], [list(row.values()) for row in rows])


@certificate.command("show")
@click.argument("number", type=int)
@common
def certificate_show(app: App, number: int) -> None:
    """Show one certificate; with --json the signed text itself."""
    with app.changing() as lake:
        (found,) = _issued(lake, [number])
    if app.as_json:
        show_json(dict(found.held))
        return
    held = found.held
    show_pairs(
        {
            "certificate": found.seq,
            "statement": held["statement"],
            "at": held["event"]["at"],
            "policy": held["policy"],
            "proof": f"{len(held['proof']['hashes'])} hashes to the checkpoint over {held['proof']['size']} events",
            "key": held["key"],
        }
    )


@certificate.command("export")
@click.argument("numbers", type=int, nargs=-1, metavar="[NUMBER]…")
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="Folder to write to.")
@common
def certificate_export(app: App, numbers: tuple[int, ...], output: Path) -> None:
    """Write certificates, all of them when none is named: NUMBER.json is signed, NUMBER.html shows it and can be printed."""
    from compliance.certificate_page import page

    with app.changing() as lake:
        made = _issued(lake, numbers)
    for each in made:
        _write(output / f"{each.name}.json", each.content)
        _write(output / f"{each.name}.html", page(each).encode())
    show(app, {"folder": str(output), "certificates": [each.seq for each in made]})


def _row(event: Event) -> dict[str, Any]:
    body = event.body
    what = f"{body['stream']}/{body['day']}" if "day" in body else body.get("request", "")
    rows = body.get("rows", 0)
    return {
        "certificate": event.seq,
        "at": event.at,
        "kind": event.kind,
        "what": what,
        "rows": sum(rows.values()) if isinstance(rows, dict) else rows,
    }


def _issued(lake: Lake, numbers: Iterable[int]) -> list[Certificate]:
    from compliance.certificates import issue, listed

    every = {event.seq: event for event in listed(lake.context.ledger)}
    wanted = [*numbers] or [*every]
    unknown = [number for number in wanted if number not in every]
    if unknown:
        raise UsageError(f"event {unknown[0]} destroyed nothing", "see: auditlake certificate list")
    if wanted:
        _cover(lake, max(wanted))
    return issue(evidence_of(lake), [every[number] for number in dict.fromkeys(wanted)])


def _cover(lake: Lake, seq: int) -> None:
    if lake.context.checkpoints.first_over(seq) is None:
        lake.context.checkpoints.sign()  # the next night copies it


def evidence_of(lake: Lake) -> Evidence:
    """What certificates and packs of a data directory are made from."""
    from compliance.certificates import Evidence

    ctx = lake.context
    return Evidence(ctx.control, ctx.ledger, ctx.checkpoints, {name: str(policy) for name, policy in ctx.policies.items()})


# ------------------------------------------------------------------------------------------------------------------ pack


@click.group(cls=Ordered)
def pack() -> None:
    """Packs of evidence for an auditor, who checks them without this program."""


@pack.command("export")
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="ZIP file to write.")
@click.option("--from", "first", metavar="DAY", help="First day of the events, like 2026-01-31 (UTC; default: the ledger's first).")
@click.option("--to", "last", metavar="DAY", help="Last day, included (default: today).")
@common
def pack_export(app: App, output: Path, first: str | None, last: str | None) -> None:
    """Write a pack: events of the ledger, the proofs, checkpoints, public keys, certificates, and a verifier.

    \b
    auditlake pack export -o evidence.zip
    auditlake verify evidence.zip --trust FINGERPRINT
    """
    from compliance.packs import build

    since = utc_day(parse_instant(first)).isoformat() if first else ""
    until = utc_day(parse_instant(last) + _A_DAY).isoformat() if last else ""
    with app.changing() as lake:
        ctx = lake.context
        ctx.checkpoints.sign()
        made = build(evidence_of(lake), since, until, to_iso(ctx.clock.now()))
    _write(output, made.content)
    show(
        app,
        {
            "pack": str(output),
            "bytes": len(made.content),
            "first": made.first,
            "last": made.last,
            "checkpoint": made.checkpoint.size,
            "certificates": made.certificates,
            "key": made.key,
        },
    )


def verify_pack(app: App, path: Path, trust: tuple[str, ...], kept: tuple[Path, ...]) -> None:
    """Check a pack or a certificate with the functions that an auditor runs, and show what was found.

    :raises AuditlakeError: something in it is not in order.
    :raises UsageError: a file cannot be read.
    """
    from compliance.verifier import checks

    try:
        found = [*checks(path, trust, [file.read_text(encoding="utf-8") for file in kept])]
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"{getattr(error, 'filename', None) or 'a file'} cannot be read: {error}", "name a pack or a certificate"
        ) from None
    ok = all(check.ok for check in found)
    _show_checks(app, ok, found)
    if not ok:
        fault = next(check for check in found if not check.ok)
        raise AuditlakeError(f"{path} is not in order: {fault.name}: {fault.detail}", "do not rely on it")
    if not trust:
        say("no --trust was given: this shows that it agrees with itself, not whose it is")


def _show_checks(app: App, ok: bool, found: list[Check]) -> None:
    if app.as_json:
        show_json({"ok": ok, "checks": [vars(check) for check in found]})
    else:
        show_table(["check", "ok", "detail"], [[check.name, check.ok, check.detail] for check in found])


def _write(path: Path, content: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}", "choose another place with -o") from None


GROUPS = (signing, checkpoint, certificate, pack)
"""The groups of commands of this module."""

"""A certificate of destruction as a document: one HTML file that needs nothing else, reads well on paper, and shows what is signed.

It is a picture of the signed text beside it, which is what counts; everything in it is escaped.
"""

from collections.abc import Iterable, Mapping
from html import escape
from typing import Any

from compliance.certificates import Certificate

__all__ = ["page"]

_SHOWN = 200
_STYLE = """
body { font: 11pt/1.5 Georgia, "Times New Roman", serif; color: #111; background: #fff; max-width: 44em; margin: 3em auto; padding: 0 1em }
h1 { font-size: 20pt; font-weight: normal; margin: 0 }
h2 { font-size: 13pt; font-weight: normal; border-bottom: 1px solid #999; margin-top: 2em }
.number { color: #555; margin: .2em 0 2em }
.statement { font-size: 13pt }
table { border-collapse: collapse; width: 100% }
th { text-align: left; font-weight: normal; color: #555; vertical-align: top; width: 12em }
th, td { padding: .2em .8em .2em 0 }
.things th { width: auto; border-bottom: 1px solid #ccc }
.things td { font-size: 9pt; vertical-align: top; overflow-wrap: anywhere }
code, pre { font: 9pt/1.4 "DejaVu Sans Mono", Menlo, Consolas, monospace; overflow-wrap: anywhere; white-space: pre-wrap }
footer { margin-top: 3em; border-top: 1px solid #999; font-size: 9pt; color: #555 }
@page { margin: 2cm }
@media print { body { margin: 0; max-width: none } h2 { break-after: avoid } tr { break-inside: avoid } }
"""


def page(certificate: Certificate) -> str:
    """The document."""
    held, event = certificate.held, certificate.held["event"]
    what = {
        "What": f"{event['kind']}: {', '.join(f'{name} {value}' for name, value in event['body'].items() if name in ('stream', 'day'))}",
        "When": event["at"],
        "Policy": f"{held['policy'] or 'none recorded'}{_source(held)}",
        "Event of the ledger": f"number {event['seq']}, of the log {held['origin']}",
    }
    proof = held["proof"]
    shown = {
        "Checkpoint": f"over the first {proof['size']} events",
        "Path from event to checkpoint": f"{len(proof['hashes'])} hashes (RFC 6962)",
        "Signing key (SHA-256)": held["key"],
        "Signature (Ed25519)": held["signature"],
    }
    title = f"Certificate of destruction {certificate.seq}"
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title><style>{_STYLE}</style></head><body>\n'
        f'<h1>Certificate of destruction</h1>\n<p class="number">Number {certificate.seq}</p>\n'
        f'<p class="statement">{escape(held["statement"])}</p>\n{_pairs(what)}\n{_counts(event["body"])}{_removed(held["detail"])}'
        f"<h2>Proof</h2>\n{_pairs(shown)}\n<pre>{escape(held['checkpoint'])}</pre>\n"
        f"<footer>This page shows the signed certificate {certificate.name}.json, which is what counts. Verify that with: auditlake verify"
        f" {certificate.name}.json, or with the stand-alone verify_pack.py, and compare the first key's fingerprint with the one you were"
        f" given: <code>{escape(held['keys'][0]['id'])}</code></footer>\n</body></html>\n"
    )


def _source(held: Mapping[str, Any]) -> str:
    return {"ledger": "", "settings": " (as the settings say now; the ledger did not record it then)"}.get(held["policy_from"], "")


def _pairs(pairs: Mapping[str, Any]) -> str:
    rows = (f"<tr><th>{escape(name)}</th><td>{escape(str(value))}</td></tr>" for name, value in pairs.items())
    return f"<table>{''.join(rows)}</table>"


def _counts(body: Mapping[str, Any]) -> str:
    """Everything else that the event says."""
    told = {name.replace("_", " "): value for name, value in body.items() if name not in ("stream", "day", "detail")}
    return f"<h2>What the ledger says</h2>\n{_pairs({name: _plain(value) for name, value in told.items()})}\n"


def _plain(value: Any) -> str:
    return ", ".join(f"{name} {part}" for name, part in value.items()) if isinstance(value, Mapping) else str(value)


def _removed(detail: Mapping[str, Any] | None) -> str:
    if detail is None:
        return ""
    shown = detail["removed"][:_SHOWN]
    rest = detail["things"] - len(shown)
    more = f"<p>and {rest} more, which the signed certificate or its digest lists.</p>\n" if rest else ""
    place = f" below {escape(detail['place'])}" if detail["place"] else ""
    head = f"<h2>What was removed</h2>\n<p>{detail['things']} things, {detail['bytes']} bytes{place}; the key of the day's hot file.</p>\n"
    return f"{head}{_things(shown)}{more}"


def _things(things: Iterable[Mapping[str, Any]]) -> str:
    names = ("kind", "name", "version", "bytes")
    rows = (f"<tr>{''.join(f'<td>{escape(str(thing[name]))}</td>' for name in names)}</tr>" for thing in things)
    head = "".join(f"<th>{name}</th>" for name in names)
    return f'<table class="things"><tr>{head}</tr>{"".join(rows)}</table>\n'

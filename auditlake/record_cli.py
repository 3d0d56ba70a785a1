"""``auditlake record``: the record of processing activities, from the settings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from auditlake.app import App, common
from auditlake.console import say, show_json
from core.errors import UsageError

__all__ = ["record"]


@click.command()
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Write it to a file: .html or .md (default: Markdown to the screen).")
@common
def record(app: App, output: Path | None) -> None:
    """Write the record of processing activities (Art. 30 GDPR) from [privacy] and the limits of the streams.

    It needs no data directory. What [privacy] leaves empty is told as not stated.

    \b
    auditlake record -o record.html
    """
    from compliance.record import as_html, as_markdown, build
    from core.clock import WallClock, utc_day

    if output and output.suffix not in (".html", ".md"):
        raise UsageError(f"{output} ends neither in .html nor in .md", "name the form by the file's ending")
    settings = app.settings
    privacy = settings.privacy
    texts = {key: privacy.texts(key) for key in type(privacy).model_fields}
    policies = [policy for name, policy in settings.policies().items() if name == policy.name]
    made = build(texts, privacy.unset(), policies, utc_day(WallClock().now()))
    if output:
        output.write_text(as_html(made) if output.suffix == ".html" else as_markdown(made), encoding="utf-8")
    if app.as_json:
        found: dict[str, Any] = {"day": made.day.isoformat(), "record": made.parts, "unset": made.unset}
        show_json({**found, "output": str(output) if output else None})
    elif not output:
        click.echo(as_markdown(made), nl=False)
    if made.unset and not app.as_json:
        say(f"auditlake: not stated: {', '.join(made.unset)}; set them in [privacy]")

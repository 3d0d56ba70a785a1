"""The commands about saved queries: ``queries list``, ``queries show`` and ``queries run``. Only the last needs a data directory."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from auditlake.app import App, Ordered, common
from auditlake.console import show_json, show_table, visible
from core.errors import UsageError

if TYPE_CHECKING:
    from query.saved import SavedQuery

__all__ = ["given_values", "queries", "show_queries", "signature"]


@click.group(cls=Ordered)
def queries() -> None:
    """Questions that security analysts ask, written already; your own beside them.

    \b
    auditlake queries list
    auditlake queries show failed_login_bursts
    auditlake queries run failed_login_bursts -p window=7d -p least=20
    """


@queries.command("list")
@common
def queries_list(app: App) -> None:
    """List the saved queries: name, parameters, what each answers."""
    from query.saved import every

    known = every(app.settings.query.saved)
    if app.as_json:
        show_json({"queries": [_as_json(query) for query in known.values()]})
    else:
        show_queries(known.values())


@queries.command("show")
@click.argument("name")
@common
def queries_show(app: App, name: str) -> None:
    """Show one: what it answers, its parameters, its SQL."""
    from query.saved import find

    query = find(name, app.settings.query.saved)
    if app.as_json:
        show_json({**_as_json(query), "sql": query.body})
        return
    print(visible("\n\n".join(filter(None, (query.summary, query.details)))))
    show_table(("parameter", "type", "default", "meaning"), [(p.name, p.kind, _default(p.default), p.meaning) for p in query.parameters])
    print(visible(query.body))


@queries.command("run")
@click.argument("name")
@click.option("-p", "--param", "given", multiple=True, metavar="KEY=VALUE", help="Value of a parameter (may be repeated).")
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "csv", "json", "parquet"]),
    default="table",
    show_default=True,
    help="Form of the result.",
)
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Write the result to a file.")
@click.option("--stream", default="requests", show_default=True, help="Stream that is asked.")
@common
def queries_run(app: App, name: str, given: tuple[str, ...], form: str, output: Path | None, stream: str) -> None:
    """Answer a saved query. `--json` is the same as `--format json`.

    \b
    auditlake queries run subject_timeline -p subject=203.0.113.7 -p window='7 days'
    """
    from auditlake.analyst import answer
    from query.saved import find

    sql = find(name, app.settings.query.saved).statement(given_values(given))
    with app.reading() as lake:
        answer(lake, sql, "json" if app.as_json else form, output, stream)


def given_values(words: Sequence[str]) -> dict[str, str]:
    """Values by name, from words like ``least=20``.

    :raises UsageError: a word has no equals sign, or a name comes twice.
    """
    values: dict[str, str] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or not name.strip():
            raise UsageError(f"{word!r} is no parameter and value", "write KEY=VALUE")
        if name.strip() in values:
            raise UsageError(f"parameter {name.strip()} is given twice", "give it once")
        values[name.strip()] = value
    return values


def show_queries(known: Iterable[SavedQuery]) -> None:
    """The queries as a table."""
    show_table(("name", "parameters", "answers"), [(query.name, signature(query), query.summary) for query in known])


def signature(query: SavedQuery) -> str:
    """The names of its parameters: those that must be given, then the others in brackets."""
    needed = [parameter.name for parameter in query.parameters if parameter.default is None]
    return " ".join([*needed, *(f"[{parameter.name}]" for parameter in query.parameters if parameter.default is not None)])


def _as_json(query: SavedQuery) -> dict[str, Any]:
    parameters = [{"name": p.name, "type": p.kind, "default": p.default, "meaning": p.meaning} for p in query.parameters]
    return {"name": query.name, "summary": query.summary, "details": query.details, "own": query.own, "parameters": parameters}


def _default(value: str | None) -> str:
    return "(needed)" if value is None else value

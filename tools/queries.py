"""Writes docs/queries.md from the files below query/saved: python -m tools.queries > docs/queries.md (a test compares the two)."""

import sys
from collections.abc import Iterator

from query.saved import Parameter, SavedQuery, every

__all__ = ["document"]

_HEAD = """\
# Saved queries

Made from the files in `query/saved` by `python -m tools.queries > docs/queries.md`; a test compares the two.

Questions that security analysts ask of request logs, written and tested already. Each looks at a window of time that ends now,
24 hours unless told otherwise, and opens no days but those it needs.

```sh
auditlake queries list
auditlake queries show failed_login_bursts
auditlake queries run failed_login_bursts -p window=7d -p least=20
auditlake queries run subject_timeline -p subject=203.0.113.7 --format csv -o timeline.csv
```

What a query finds is a reason to look, no proof. The thresholds are meant for a site of middling size: change them by `-p`, or in
a query of your own with the same name.

| type | how a value is written |
|---|---|
| text | as it is |
| integer | `20` |
| number | `0.5` |
| interval | a number and a unit: `24 hours`, `90min`, `7d`, `2 weeks`, `1 month` |
| timestamp | ISO 8601, UTC when no zone is given: `2015-05-20T00:00:00Z`; or `now`, by the data directory's clock |

Values become SQL literals of their type. Nothing that is given as a value can become a part of the statement.

## The queries

| name | answers |
|---|---|
"""

_OWN = """\
## Queries of your own

Put them into a folder, one `NAME.sql` each, and name the folder:

```toml
[query]
saved = "/etc/auditlake/queries"
```

One that has the name of a query above goes before it. A file is a header of comments and one SELECT:

```sql
-- many_errors
-- Addresses that were answered with many errors.
--
-- What more there is to say, in as many lines as it takes.
--
-- $window interval = 24 hours: how far back to look
-- $paths text = '^/(login|signin)': paths that count, a regular expression
-- $least integer: errors, at least
SELECT source_address, count(*) AS errors
FROM requests
WHERE event_day >= ago($window)::DATE AND event_time > ago($window)
    AND http_response_status_code >= 400 AND regexp_matches(url_path, $paths)
GROUP BY ALL
HAVING errors >= $least
ORDER BY errors DESC
```

- The first line is the file's name, the second what the query answers.
- A parameter is `$name type = default: meaning`. Without a default it must be given. A default with a colon stands in single quotes.
- The SELECT passes the same gate as `auditlake query`: it reads `requests` and nothing else.
- Conditions on `event_day` and `event_time` beside plain values decide which days are opened. Read `requests` once, in the first
  WITH, and leave these two columns their names: otherwise every day is opened.
- `lake_now()` is the present by the data directory's clock, `ago(interval)` a time before it.
- Texts in plain single quotes, comments with `--`; `E'…'`, `$$…$$` and `/* … */` are refused, so that it is always clear where a
  parameter stands.

## The shell

`auditlake sql` asks one statement after the other, each ended by a semicolon, with completion by the tabulator key. The view is built
anew for each. From a script it reads standard input, and ends with exit code 1 when a statement failed.

```sh
auditlake sql
cat statements.sql | auditlake sql
```

`\\run NAME key=value` answers a saved query, `\\d` shows the columns, `\\o FILE` writes the next result to a file, `\\?` lists the rest.
Ctrl-C cancels what runs, Ctrl-D leaves. What is typed is kept in memory only, since it can name people; `--history FILE` keeps it in
a file that its owner alone can read.
"""


def document() -> str:
    """The whole page."""
    known = every().values()
    index = [f"| [`{query.name}`](#{query.name}) | {query.summary} |" for query in known]
    sections = ["\n".join(_section(query)) for query in known]
    return _HEAD + "\n".join([*index, "", *sections, _OWN])


def _section(query: SavedQuery) -> Iterator[str]:
    yield f"### {query.name}\n"
    yield query.summary
    if query.details:
        yield f"\n{query.details}"
    yield "\n| parameter | type | default | meaning |\n|---|---|---|---|"
    yield from map(_row, query.parameters)
    yield ""


def _row(parameter: Parameter) -> str:
    default = "(needed)" if parameter.default is None else f"`{parameter.default}`" if parameter.default else "(empty)"
    return f"| `{parameter.name}` | {parameter.kind} | {default.replace('|', chr(92) + '|')} | {parameter.meaning} |"


if __name__ == "__main__":
    sys.stdout.write(document())

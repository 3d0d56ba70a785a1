"""What goes wrong with a query, as one line: DuckDB's own words, without its quotation of the statement.

:class:`ViewMovedError` (exit 1) says that a file of the view went away: the caller builds the view anew and asks again.
"""

from core.errors import AuditlakeError, UsageError

__all__ = ["ViewMovedError", "explain"]

_GONE = ("no such file", "does not exist", "404", "not found", "nosuchkey")
_DISK = ("IO Error", "HTTP Error")


class ViewMovedError(AuditlakeError):
    """A file of the view was rolled or purged meanwhile: build the view anew from the present state."""


def explain(error: Exception) -> AuditlakeError:
    """The error to show for one that DuckDB raised, directly or through an Arrow reader."""
    text = one_line(error)
    kind = text.partition(":")[0]
    if kind == "INTERRUPT Error":
        return AuditlakeError("the query was interrupted", "narrow it, for instance by event_day")
    if kind == "Out of Memory Error" or isinstance(error, MemoryError):
        return AuditlakeError(f"the query needs more memory or temporary space than it may use: {text}", "narrow it, or raise the limit")
    if kind in _DISK and any(word in text.lower() for word in _GONE):
        return ViewMovedError(f"a file of the view is gone: {text}", "ask again")
    if kind in (*_DISK, "INTERNAL Error", "FATAL Error"):
        return AuditlakeError(f"the query failed: {text}")
    return UsageError(f"the query cannot be run: {text}")


def one_line(error: Exception) -> str:
    """DuckDB's message up to its quotation of the statement (which may hold a key), its lines joined."""
    text = str(error).partition("\nLINE ")[0].partition("Possible solutions:")[0]
    return " ".join(text.split()).rstrip(" ;.")

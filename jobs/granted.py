"""Restriction and objection: rights that are in force until they are lifted.

*Restrict*: the subject's rows are kept, and no query and no export sees them (``query.lake``); new ones neither. *Object*: rows of the
subject, and rejected lines that mention it, do not come in any more, and are counted as refused (``jobs.barred``). What is held of
before stays as it is; to take it out is to erase.
"""

from core.errors import UsageError
from core.policy import Period
from core.subject import Subject
from jobs.context import Context
from storage import tombstones
from storage.requests import IN_FORCE, OBJECT, Request

__all__ = ["grant", "lift"]


def grant(ctx: Context, right: str, subject: Subject, within: Period) -> Request:
    """Put the right in force, at once.

    :param within: after which period a request must be done.
    """
    request = ctx.requests.receive(right, subject, within)
    with ctx.control.write() as connection:
        if right == OBJECT:
            tombstones.bury(connection, ctx.keys, request.id, subject, None)
        ctx.requests.grant(connection, request)
    return ctx.requests.get(request.id) or request


def lift(ctx: Context, right: str, subject: Subject) -> Request:
    """End what is in force for that right of that subject; whom it was about is forgotten.

    :raises UsageError: nothing is.
    """
    request = ctx.requests.under_way(right, subject)
    if request is None or request.state != IN_FORCE:
        raise UsageError(f"nothing is in force for the right {right} of this subject", "give the same selectors as before")
    with ctx.control.write() as connection:
        lifted = tombstones.lift(connection, request.id)
        ctx.requests.done(connection, request, {"lifted": True}, **({"tombstones": lifted} if right == OBJECT else {}))
        ctx.requests.forget_subject(connection, request)
    ctx.control.forget_deleted()
    return ctx.requests.get(request.id) or request

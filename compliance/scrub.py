"""Which days of the archive are read again next, so that in so many nights all are; and what is wrong with one. See ``accounts``."""

from collections.abc import Mapping, Sequence

from compliance.accounts import Stores, archive_fault
from core.errors import AuditlakeError, LockedError
from core.segment import Segment
from storage.archive import ArchivedFile

__all__ = ["fault", "part"]


def part(sizes: Mapping[Segment, int], after: Segment | None, nights: int) -> list[Segment]:
    """The days that are read next: from the first after ``after``, round and round, until they make up their share of all bytes.

    At least one, when there is any. Days that come and go between do not keep another from its turn.
    """
    order = sorted(sizes)
    begin = next((number for number, segment in enumerate(order) if after is None or segment > after), 0)
    share, taken, found = sum(sizes.values()) / nights, 0, list[Segment]()
    for segment in [*order[begin:], *order[:begin]]:
        if found and taken >= share:
            break
        found.append(segment)
        taken += sizes[segment]
    return found


def fault(stores: Stores, files: Sequence[ArchivedFile], expected: str) -> str:
    """Read a day's rows again; what is wrong with them, empty when nothing is.

    :param expected: the digest that the ledger says, empty for none.
    """
    try:
        digest = stores.archive.digest(file.path for file in files)
    except LockedError:
        raise
    except AuditlakeError as error:
        return error.problem
    told = sum(file.rows for file in files)
    return archive_fault(digest.sum, expected) or ("" if digest.rows == told else f"it holds {digest.rows} rows, its table says {told}")

"""A bound on a process's memory, for processes that run other people's SQL.

DuckDB's ``memory_limit`` bounds its buffers: sorts, joins, aggregates, caches. It does not count the values that functions
make (``replace`` may turn two texts of 100 kB into one of 10 GB), so a statement that the gate lets through can still ask
for all memory there is. Under this bound such an allocation fails, DuckDB gives the query up, and the process goes on.
"""

import resource
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["cap_memory", "capped_memory"]


def cap_memory(limit: int) -> None:
    """Let this process hold at most ``limit`` bytes of private memory, or what is already the limit if that is less.

    For a process that does nothing else than query. Works on Linux; elsewhere it may not bind.
    """
    _, most = resource.getrlimit(resource.RLIMIT_DATA)
    wanted = limit if most == resource.RLIM_INFINITY else min(limit, most)
    resource.setrlimit(resource.RLIMIT_DATA, (wanted, most))


@contextmanager
def capped_memory(limit: int) -> Iterator[None]:
    """The same as long as the block lasts, for a process that queries now and does something else later."""
    before = resource.getrlimit(resource.RLIMIT_DATA)
    cap_memory(limit)
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, before)

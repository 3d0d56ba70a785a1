"""``python -m auditlake.worker``: a process that answers queries, begun by the server alone.

It lowers its priority before anything else, the imports too, so that ingest goes before queries.
"""

import os

__all__ = ["main"]

_NICE = 19


def main() -> None:
    """Answer until standard input ends."""
    os.nice(max(0, _NICE - os.nice(0)))  # not twice where who began it is below the server already
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")  # the usual one reserves a gibibyte, which the cap would count
    from auditlake.answering import answer_all

    answer_all()


if __name__ == "__main__":
    main()

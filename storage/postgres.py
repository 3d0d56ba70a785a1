"""What PostgreSQL is asked for so that it keeps the control database's promises.

Writers queue for one advisory lock and are durable when they commit, readers see one moment, a trigger keeps the ledger's
rows, and what is deleted leaves the table's file. It does not leave the server's write-ahead log, its backups and replicas:
these forget when the server recycles them.

Sources: https://www.postgresql.org/docs/current/explicit-locking.html#ADVISORY-LOCKS, sql-vacuum.html, sql-createtrigger.html.
"""

import logging
import time
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from core.errors import AuditlakeError

__all__ = ["READING", "is_set_up", "lock", "prepare", "rewrite", "set_up"]

READING = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
"""Execution options of a connection that sees one moment and changes nothing."""

_PATIENCE_SECONDS = 30.0
_WRITER = 0x617564_69746C  # any number that nothing else in this database locks
_LOCK_NOT_AVAILABLE = "55P03"
_TRIGGER = "ledger_append_only"
_APPEND_ONLY = (
    "CREATE OR REPLACE FUNCTION auditlake_append_only() RETURNS trigger LANGUAGE plpgsql AS "
    "$$ BEGIN RAISE EXCEPTION 'the ledger is append-only'; END $$",
    f"CREATE OR REPLACE TRIGGER {_TRIGGER} BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger "
    "FOR EACH STATEMENT EXECUTE FUNCTION auditlake_append_only()",
)


def prepare(engine: sa.Engine) -> None:
    """Durability and patience on every connection of an engine."""
    # it logs a traceback when a server goes away, beside the error that is raised
    logging.getLogger("sqlalchemy.pool").setLevel(logging.CRITICAL)

    @sa.event.listens_for(engine, "connect")
    def _connect(connection: Any, _record: Any) -> None:
        cursor = connection.cursor()
        cursor.execute(f"SET lock_timeout = '{int(_PATIENCE_SECONDS)}s'")
        cursor.execute("SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'")
        cursor.close()
        connection.commit()


def lock(connection: sa.Connection) -> None:
    """Wait until no other transaction writes; the lock ends with the transaction, after its changes can be seen."""
    connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_WRITER})")


def is_set_up(connection: sa.Connection, metadata: sa.MetaData) -> bool:
    """Whether all tables and the ledger's trigger are there."""
    trigger = f"SELECT 1 FROM pg_trigger WHERE tgrelid = to_regclass('ledger') AND tgname = '{_TRIGGER}'"
    return set(metadata.tables) <= set(sa.inspect(connection).get_table_names()) and connection.exec_driver_sql(trigger).scalar() == 1


def set_up(connection: sa.Connection, metadata: sa.MetaData) -> None:
    """Make the tables and the trigger that are missing, in the caller's write transaction."""
    metadata.create_all(connection)
    for statement in _APPEND_ONLY:
        connection.exec_driver_sql(statement)


def rewrite(engine: sa.Engine, table: str) -> bool:
    """Write the table's file anew without the rows that were deleted; returns whether all of them could be left out.

    VACUUM alone would leave their bytes in the free space of pages. Rows that an older transaction may still see are kept, so
    such transactions are awaited first, for half a minute.

    :raises AuditlakeError: the role does not own the table; PostgreSQL only warns.
    """
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        free = _await_older_transactions(connection)
        before = _file(connection, table)
        try:
            connection.exec_driver_sql(f"VACUUM (FULL) {table}")
        except DBAPIError as error:
            if getattr(error.orig, "sqlstate", None) == _LOCK_NOT_AVAILABLE:
                return False
            raise
        if _file(connection, table) == before:
            role = connection.exec_driver_sql("SELECT current_user").scalar()
            raise AuditlakeError(f"role {role} may not VACUUM the table {table}", f"make it the owner of table {table}")
    return free


def _await_older_transactions(connection: sa.Connection) -> bool:
    older = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() AND age(backend_xmin) > 0"
    begun = time.perf_counter()
    while connection.exec_driver_sql(f"{older} LIMIT 1").scalar():
        if time.perf_counter() - begun > _PATIENCE_SECONDS:
            return False
        time.sleep(0.1)
    return True


def _file(connection: sa.Connection, table: str) -> int:
    return int(connection.exec_driver_sql(f"SELECT pg_relation_filenode('{table}')").scalar_one())

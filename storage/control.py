"""The control database: the small, durable facts beside the rows.

SQLite by default (WAL, synchronous=FULL, secure_delete), PostgreSQL by URL (:mod:`storage.postgres`). It outlives the data
and never holds an address, a URL or a user of the logs: sources are known by digests, keys are wrapped, texts of queries are
sealed; the names of those who query are in ``users``. A write transaction takes the
write lock at its beginning, so two writers queue instead of failing half-way. No message shows the password of a URL.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError, DBAPIError

from core.errors import AuditlakeError, UsageError
from core.steps import step
from storage import postgres

__all__ = ["Control", "archive_pointers", "fragments", "job_runs", "keys", "ledger", "meta", "open_batches", "query_texts", "segments"]
__all__ += ["holds", "incoming", "sources", "spans", "tokens", "users"]
__all__ += ["hot_swaps", "subject_requests", "tombstones"]
__all__ += ["checkpoints", "destructions", "removals"]

_metadata = sa.MetaData()

meta = sa.Table(
    "meta",
    _metadata,
    sa.Column("key", sa.String, primary_key=True),
    sa.Column("value", sa.String, nullable=False),
)
ledger = sa.Table(
    "ledger",
    _metadata,
    sa.Column("seq", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("at", sa.String, nullable=False),
    sa.Column("kind", sa.String, nullable=False, index=True),
    sa.Column("body", sa.Text, nullable=False, comment="canonical JSON, RFC 8785"),
    sa.Column("prev", sa.String(64), nullable=False),
    sa.Column("hash", sa.String(64), nullable=False),
)
segments = sa.Table(
    "segments",
    _metadata,
    sa.Column("stream", sa.String, primary_key=True),
    sa.Column("day", sa.Date, primary_key=True),
    *(sa.Column(name, sa.BigInteger, nullable=False) for name in ("stored", "erased", "purged", "hot", "archived")),
    sa.Column("open_action", sa.String, nullable=False),
    comment="the ledger folded: a cache that verify rebuilds and compares",
)
keys = sa.Table(
    "keys",
    _metadata,
    sa.Column("stream", sa.String, primary_key=True),
    sa.Column("day", sa.Date, primary_key=True),
    sa.Column("wrapped", sa.LargeBinary, nullable=False),
)
sources = sa.Table(
    "sources",
    _metadata,
    sa.Column("id", sa.String, primary_key=True),
    sa.Column("stream", sa.String, primary_key=True),
    sa.Column("head", sa.String, nullable=False, index=True, comment="fingerprint of its first line"),
)
spans = sa.Table(
    "spans",
    _metadata,
    sa.Column("source", sa.String, primary_key=True),
    sa.Column("stream", sa.String, primary_key=True),
    sa.Column("start", sa.BigInteger, primary_key=True),
    sa.Column("end", sa.BigInteger, nullable=False),
    sa.Column("digest", sa.String(64), nullable=False),
    sa.Column("lines", sa.BigInteger, nullable=False),
    sa.Column("line_digests", sa.LargeBinary, nullable=False),
    sa.Column("terminated", sa.Boolean, nullable=False),
    sa.Column("batch", sa.String, nullable=False, index=True),
    sa.Column("last_day", sa.Date, nullable=False, comment="day of its newest line: with that day's end the source is forgotten"),
)
fragments = sa.Table(
    "fragments",
    _metadata,
    sa.Column("stream", sa.String, primary_key=True),
    sa.Column("key", sa.String(64), primary_key=True, comment="digest of a rejected last line without a newline, and where it begins"),
    sa.Column("last_day", sa.Date, nullable=False, comment="with that day's end it is forgotten"),
)
open_batches = sa.Table(
    "open_batches",
    _metadata,
    sa.Column("batch", sa.String, primary_key=True),
    sa.Column("stream", sa.String, nullable=False),
    sa.Column("body", sa.Text, nullable=False, comment="JSON: segments it writes to, rejected lines it replaces"),
    sa.Column("recorded", sa.Boolean, nullable=False, comment="whether its rows count already"),
)
archive_pointers = sa.Table(
    "archive_pointers",
    _metadata,
    sa.Column("stream", sa.String, primary_key=True),
    sa.Column("metadata", sa.String, nullable=False, comment="the Iceberg metadata file that readers see"),
)
receipts = sa.Table(
    "receipts",
    _metadata,
    sa.Column("receipt", sa.String(32), primary_key=True),
    sa.Column("number", sa.BigInteger, nullable=False, index=True, comment="order of arrival"),
    sa.Column("stream", sa.String, nullable=False),
    sa.Column("sender", sa.String, nullable=False, comment="id of the user, or name of the source, that sent it"),
    sa.Column("body", sa.Text, nullable=False, comment="JSON: format, name of the source, zone of times that name none"),
    sa.Column("same", sa.String(64), nullable=False, comment="digest of what makes a repeated request the same"),
    sa.Column("arrived", sa.String, nullable=False),
    sa.Column("wrapped", sa.LargeBinary, comment="key of the spool file; none once its lines are stored"),
    sa.Column("chunks", sa.Integer, nullable=False, comment="how many of its chunks are stored"),
    sa.Column("done", sa.Boolean, nullable=False),
    sa.Column("figures", sa.Text, nullable=False, comment="JSON: lines counted so far"),
    sa.UniqueConstraint("stream", "sender", "same"),
)
incoming = sa.Table(
    "incoming",
    _metadata,
    sa.Column("source", sa.String, primary_key=True, comment="name of the source in the settings"),
    sa.Column("object", sa.String(64), primary_key=True, comment="digest of bucket, key, ETag and size: all its lines are stored"),
    sa.Column("seen", sa.Date, nullable=False, comment="day on which a listing held it last"),
)
job_runs = sa.Table(
    "job_runs",
    _metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("job", sa.String, nullable=False, index=True),
    sa.Column("started", sa.String, nullable=False),
    sa.Column("finished", sa.String),
    sa.Column("outcome", sa.String),
    sa.Column("error", sa.String),
)
users = sa.Table(
    "users",
    _metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False, comment="from 1, never given twice; the ledger knows it alone"),
    sa.Column("name", sa.String, nullable=False, index=True, comment="of those that are not revoked each is there once"),
    sa.Column("role", sa.String, nullable=False),
    sa.Column("created", sa.String, nullable=False),
    sa.Column("revoked", sa.String),
)
tokens = sa.Table(
    "tokens",
    _metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("user", sa.Integer, nullable=False, index=True),
    sa.Column("digest", sa.String(64), nullable=False, unique=True, comment="SHA-256 of the token, which is 256 random bits"),
    sa.Column("created", sa.String, nullable=False),
    sa.Column("expires", sa.String, comment="it opens nothing from then on"),
    sa.Column("revoked", sa.String),
)
query_texts = sa.Table(
    "query_texts",
    _metadata,
    sa.Column("seq", sa.Integer, primary_key=True, autoincrement=False, comment="the event of the ledger that it belongs to"),
    sa.Column("day", sa.Date, nullable=False, index=True, comment="the day whose key opens it"),
    sa.Column("sealed", sa.LargeBinary, nullable=False, comment="AES-256-GCM of JSON: name, statement, purpose, reason, salt"),
)
holds = sa.Table(
    "holds",
    _metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False, comment="from 1, never given twice; the ledger knows it"),
    sa.Column("stream", sa.String, nullable=False),
    sa.Column("first", sa.Date, nullable=False),
    sa.Column("last", sa.Date, nullable=False),
    sa.Column("reason", sa.Text, nullable=False, comment="free text; empty once it is forgotten"),
    sa.Column("owner", sa.Text, nullable=False, comment="free text; empty once it is forgotten"),
    sa.Column("salt", sa.String(64), nullable=False, comment="random bits in the digest that the ledger holds"),
    sa.Column("added", sa.String, nullable=False),
    sa.Column("expires", sa.String, comment="it binds nothing from then on"),
    sa.Column("ended", sa.String, comment="when that was noted"),
    sa.Column("how", sa.String, comment="released or expired"),
)
subject_requests = sa.Table(
    "subject_requests",
    _metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False, comment="from 1, never given twice; the ledger knows it"),
    sa.Column("right", sa.String, nullable=False, comment="access, erase, ..."),
    sa.Column("state", sa.String, nullable=False, index=True),
    sa.Column("subject", sa.String(64), nullable=False, comment="keyed pseudonym"),
    sa.Column("received", sa.String, nullable=False),
    sa.Column("deadline", sa.String, nullable=False),
    sa.Column("finished", sa.String),
    sa.Column("sealed", sa.LargeBinary, comment="AES-256-GCM of the selectors, under the request's key; none once forgotten"),
    sa.Column("result", sa.Text, nullable=False, comment="JSON: counts, conflicts with holds"),
)
tombstones = sa.Table(
    "tombstones",
    _metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("request", sa.Integer, nullable=False, index=True),
    sa.Column("kind", sa.String, nullable=False),
    sa.Column("digest", sa.String(64), nullable=False, comment="HMAC-SHA-256 of a selector's value"),
    sa.Column("since", sa.String, comment="the selector's range of times"),
    sa.Column("until", sa.String),
    sa.Column("before", sa.String, comment="rows of before that instant are refused; none: of any"),
)
hot_swaps = sa.Table(
    "hot_swaps",
    _metadata,
    sa.Column("stream", sa.String, primary_key=True),
    sa.Column("day", sa.Date, primary_key=True),
    sa.Column("file", sa.String, nullable=False, comment="name of the file that takes the place of all of the day's; empty: of none"),
)

checkpoints = sa.Table(
    "checkpoints",
    _metadata,
    sa.Column("size", sa.BigInteger, primary_key=True, autoincrement=False, comment="how many events of the ledger it is over"),
    sa.Column("at", sa.String, nullable=False),
    sa.Column("root", sa.String(64), nullable=False, comment="of the Merkle tree of these events, RFC 6962"),
    sa.Column("peaks", sa.Text, nullable=False, comment="hashes of the tree's perfect subtrees, from which the next one goes on"),
    sa.Column("note", sa.Text, nullable=False, comment="the signed text"),
    sa.Column("copied", sa.Boolean, nullable=False, comment="whether it also lies in its file and beside the archive"),
)
removals = sa.Table(
    "removals",
    _metadata,
    sa.Column("stream", sa.String, primary_key=True),
    sa.Column("day", sa.Date, primary_key=True),
    sa.Column("digest", sa.String(64), primary_key=True, comment="of the rest: names may be longer than an index takes"),
    sa.Column("kind", sa.String, nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("version", sa.String, nullable=False),
    sa.Column("bytes", sa.BigInteger, nullable=False),
    comment="what a purge under way is about to remove",
)
destructions = sa.Table(
    "destructions",
    _metadata,
    sa.Column("seq", sa.BigInteger, primary_key=True, autoincrement=False, comment="the event that says the digest of it"),
    sa.Column("detail", sa.Text, nullable=False, comment="canonical JSON: policy, place, what was removed"),
)

_APPEND_ONLY = (
    "CREATE TRIGGER IF NOT EXISTS ledger_no_update BEFORE UPDATE ON ledger BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END",
    "CREATE TRIGGER IF NOT EXISTS ledger_no_delete BEFORE DELETE ON ledger BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END",
    # INSERT OR REPLACE deletes without firing the trigger above
    "CREATE TRIGGER IF NOT EXISTS ledger_no_replace BEFORE INSERT ON ledger WHEN EXISTS (SELECT 1 FROM ledger WHERE seq = NEW.seq) "
    "BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END",
)


class Control:
    """An open control database.

    :param url: SQLAlchemy URL, such as ``sqlite:////srv/lake/control.sqlite``.
    :raises UsageError: the URL is none, or of another database, or its driver is not installed.
    :raises AuditlakeError: it cannot be opened.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        parsed = _parse(url)
        self._sqlite = parsed.get_backend_name() == "sqlite"
        self.name = parsed.set(query={}).render_as_string()  # hides the password; a query may hold one too
        try:
            self.engine = sa.create_engine(parsed, pool_pre_ping=not self._sqlite)
        except ImportError as error:
            raise UsageError(f"control database {self.name}: {error}", 'install its driver: pip install "psycopg[binary]"') from None
        try:
            self._prepare()
        except DBAPIError as error:
            self.close()
            said = (str(error.orig).splitlines() or [""])[0]
            hint = "check its path, permissions and disk" if self._sqlite else "check [control] url, and that the server runs"
            raise AuditlakeError(f"control database {self.name} cannot be opened: {said}", hint) from error

    @classmethod
    def in_file(cls, path: Path) -> "Control":
        """The SQLite database of that path, made when absent.

        :raises UsageError: the path cannot be said in a URL.
        """
        return cls(f"sqlite:///{check_path(path.absolute())}")

    @contextmanager
    def write(self) -> Iterator[sa.Connection]:
        """A transaction that may write: all of it is durable at the end, or none."""
        step("control.begin")
        with self.engine.connect().execution_options(auditlake_write=True) as connection, connection.begin():
            if not self._sqlite:
                postgres.lock(connection)
            yield connection
            step("control.commit")

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """One consistent view of everything."""
        with self.engine.connect().execution_options(**({} if self._sqlite else postgres.READING)) as connection, connection.begin():
            yield connection

    def forget_deleted(self) -> bool:
        """Make deleted keys leave the files too; returns whether they could, which a reader may prevent.

        With SQLite whatever was deleted goes, also from the write-ahead log; with PostgreSQL keys go from their table's file.
        """
        step("control.checkpoint")
        if not self._sqlite:
            return postgres.rewrite(self.engine, keys.name)
        with self.engine.connect() as connection:
            row = connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").one()
        return int(row[0]) == 0

    def _prepare(self) -> None:
        if self._sqlite:
            prepare_sqlite(self.engine)
            _metadata.create_all(self.engine)
            self._guard_ledger()
            return
        postgres.prepare(self.engine)
        with self.read() as connection:  # a reader finds all there, and must not wait for a writer
            if postgres.is_set_up(connection, _metadata):
                return
        with self.write() as connection:
            postgres.set_up(connection, _metadata)

    def _guard_ledger(self) -> None:
        """Make the triggers that are missing; a reader finds them all, and must not wait for a writer."""
        query = "SELECT count(*) FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'ledger'"
        with self.read() as connection:
            if connection.exec_driver_sql(query).scalar() == len(_APPEND_ONLY):
                return
        with self.write() as connection:
            for statement in _APPEND_ONLY:
                connection.execute(sa.text(statement))

    def get_meta(self, connection: sa.Connection, key: str) -> str | None:
        """The value of a key, or ``None``."""
        value: str | None = connection.execute(sa.select(meta.c.value).where(meta.c.key == key)).scalar()
        return value

    def set_meta(self, connection: sa.Connection, key: str, value: str) -> None:
        """Set the value of a key."""
        connection.execute(meta.delete().where(meta.c.key == key))
        connection.execute(meta.insert().values(key=key, value=value))

    def close(self) -> None:
        """Let go of every connection."""
        self.engine.dispose()


def _parse(url: str) -> sa.URL:
    hint = "write sqlite:////path or postgresql+psycopg://user@host/database"
    try:
        parsed = sa.make_url(url)
    except (ArgumentError, ValueError):  # their texts may hold the password
        raise UsageError("control database: [control] url is no URL of a database", hint) from None
    if parsed.drivername not in ("sqlite", "postgresql+psycopg"):
        raise UsageError(f"control database: {parsed.drivername} is not supported", hint)
    if "@" in (parsed.host or ""):  # the end of a password
        raise UsageError("control database: user or password in [control] url holds an @", "write it as %40")
    return parsed


def check_path(path: Path) -> Path:
    """The path itself, when SQLAlchemy and PyIceberg take it as it is within a URL.

    :raises UsageError: it has a character at which one of them cuts it or unquotes it: files would land elsewhere.
    """
    if any(character in str(path) for character in "?#%"):
        raise UsageError(f"path {path} holds one of ? # %, which mean something else in a URL", "choose a folder without them")
    return path


def prepare_sqlite(engine: sa.Engine) -> None:
    """Durability and secure deletion on every connection of an engine, and honest transactions.

    The driver's own transaction handling starts a transaction only at the first write, which makes a read and the write
    that follows it two transactions; so it is switched off and BEGIN is said here
    (https://docs.sqlalchemy.org/en/20/dialects/sqlite.html#sqlite-transactions).
    """

    @sa.event.listens_for(engine, "connect")
    def _connect(connection: Any, _record: Any) -> None:
        connection.isolation_level = None
        for pragma in ("busy_timeout=30000", "journal_mode=WAL", "synchronous=FULL", "secure_delete=ON", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}").close()

    @sa.event.listens_for(engine, "begin")
    def _begin(connection: sa.Connection) -> None:
        immediate = connection.get_execution_options().get("auditlake_write", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")

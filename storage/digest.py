"""Order-independent digest of rows' content: what must be equal before a copy may replace its original.

Each row is written out as text, column by column in the order of the schema: text and bytes after their length, numbers
before a comma, null as a tilde, with which none of them begins, so that no two rows share a text. The low 64 bits of its
MD5 are summed modulo 2^64. The sum does not depend on the order of the rows, can be taken in parallel, and those of two
disjoint sets of rows add up. It finds damage and loss, not malice: the ledger's SHA-256 chain stands behind it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import duckdb
import pyarrow as pa

from core.schema import Column

__all__ = ["Digest", "digest_of"]


@dataclass(frozen=True)
class Digest:
    """How many rows, and the sum of their hashes as 16 hexadecimal digits."""

    rows: int
    sum: str

    def __add__(self, other: "Digest") -> "Digest":
        return Digest(self.rows + other.rows, f"{(int(self.sum, 16) + int(other.sum, 16)) % 2**64:016x}")


EMPTY = Digest(0, "0" * 16)


def digest_of(connection: duckdb.DuckDBPyConnection, relation: str, columns: Sequence[Column]) -> Digest:
    """The digest of everything in a relation.

    :param relation: trusted SQL after FROM.
    """
    row_text = " || ".join(_text(column) for column in columns)
    sql = f"SELECT count(*), (coalesce(sum(md5_number_lower({row_text})), 0) % 18446744073709551616)::UBIGINT FROM {relation}"
    rows, total = connection.execute(sql).fetchall()[0]
    return Digest(rows, f"{total:016x}")


def _text(column: Column) -> str:
    name = f'"{column.name}"'
    if pa.types.is_string(column.type):
        return f"coalesce(strlen({name}) || ':' || {name}, '~')"
    if pa.types.is_binary(column.type):
        return f"coalesce(octet_length({name}) || ':' || hex({name}), '~')"
    plain = f"epoch_us({name})" if pa.types.is_timestamp(column.type) else name
    return f"coalesce({plain}::VARCHAR || ',', '~')"

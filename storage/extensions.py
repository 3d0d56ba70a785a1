"""DuckDB with its extensions loaded from installed packages: nothing is downloaded, nothing is written to a home directory.

The packages ``duckdb-extension-httpfs``, ``-avro``, ``-iceberg`` and ``-quack`` carry the signed extension files of one DuckDB
release; DuckDB checks the signature and the release when it loads them. httpfs is needed to *write* an encrypted database or
temporary file too: DuckDB's built-in cryptography only reads (https://duckdb.org/docs/stable/sql/statements/attach).
"""

import importlib.util
from pathlib import Path
from typing import Literal

import duckdb

from core.errors import AuditlakeError

__all__ = ["Extension", "connect", "extension_file", "load"]

Extension = Literal["httpfs", "avro", "iceberg", "quack"]

_NEEDS: dict[Extension, tuple[Extension, ...]] = {"httpfs": (), "avro": (), "iceberg": ("avro", "httpfs"), "quack": ("httpfs",)}
_CONFIG: dict[str, str | bool | int | float | list[str]] = {
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
    "allow_community_extensions": False,
    "allow_persistent_secrets": False,
}


def connect(**settings: str | bool | int) -> duckdb.DuckDBPyConnection:
    """A new in-memory DuckDB that never installs or autoloads an extension and keeps no secret on disk.

    :param settings: further DuckDB settings, by name.
    """
    return duckdb.connect(":memory:", config={**_CONFIG, **settings})


def extension_file(name: Extension) -> Path:
    """The extension's file, for the DuckDB release that runs.

    :raises AuditlakeError: its package is missing, or made for another release.
    """
    release = duckdb.__version__
    package = importlib.util.find_spec(f"duckdb_extension_{name}")
    for folder in (package.submodule_search_locations or []) if package else []:
        file = Path(folder) / "extensions" / f"v{release}" / f"{name}.duckdb_extension"
        if file.is_file():
            return file
    raise AuditlakeError(
        f"the DuckDB extension {name} for DuckDB {release} is not installed", f"install the package duckdb-extension-{name}=={release}"
    )


def load(connection: duckdb.DuckDBPyConnection, name: Extension) -> None:
    """Load the extension, and those it needs, into the connection's database; loading it again changes nothing.

    :raises AuditlakeError: a package is missing, or DuckDB refuses its file.
    """
    for each in (*_NEEDS[name], name):
        path = str(extension_file(each)).replace("'", "''")
        try:
            connection.execute(f"LOAD '{path}'")
        except duckdb.Error as error:
            reason = str(error).splitlines()[0]
            raise AuditlakeError(f"DuckDB cannot load its extension {each}: {reason}", "install the packages again") from None

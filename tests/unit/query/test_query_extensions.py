"""Extensions come from installed packages and leave no trace."""

import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

from core.errors import AuditlakeError
from storage import extensions


@pytest.mark.parametrize("name", ["httpfs", "avro", "iceberg", "quack"])
def test_each_loads_alone_and_twice(name: extensions.Extension) -> None:
    with extensions.connect() as connection:
        extensions.load(connection, name)
        extensions.load(connection, name)
        loaded = connection.execute("SELECT extension_name FROM duckdb_extensions() WHERE loaded AND NOT installed").fetchall()
    assert (name,) in loaded


def test_nothing_is_written_to_the_home_directory(tmp_path: Path) -> None:
    script = "from storage import extensions; c = extensions.connect(); extensions.load(c, 'iceberg'); c.execute('SELECT 1')"
    subprocess.run([sys.executable, "-c", script], check=True, env={"HOME": str(tmp_path), "PYTHONPATH": ":".join(sys.path)})
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_loaded_or_installed_by_itself() -> None:
    with extensions.connect() as connection, pytest.raises(duckdb.Error, match="iceberg_scan"):
        connection.execute("FROM iceberg_scan('x')")


def test_a_package_of_another_release_is_an_error_with_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(duckdb, "__version__", "9.9.9")
    with pytest.raises(
        AuditlakeError, match=r"httpfs for DuckDB 9\.9\.9 is not installed; install the package duckdb-extension-httpfs==9\.9\.9"
    ):
        extensions.extension_file("httpfs")


def test_a_missing_package_is_an_error_with_the_way_out() -> None:
    with pytest.raises(AuditlakeError, match="install the package duckdb-extension-spatial"):
        extensions.extension_file("spatial")  # type: ignore[arg-type]


def test_a_damaged_file_is_an_error_of_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    damaged = tmp_path / "httpfs.duckdb_extension"
    damaged.write_bytes(b"\0" * 2000)
    monkeypatch.setattr(extensions, "extension_file", lambda _name: damaged)
    with extensions.connect() as connection, pytest.raises(AuditlakeError, match="cannot load its extension httpfs"):
        extensions.load(connection, "httpfs")

"""What the benchmarks measure processes with."""

import sys
from pathlib import Path

import pytest

from bench.measure import HEAD, Run, run, stored_bytes, table

BUSY = "import time\nwhile time.process_time() < 0.2: pass"


def test_a_process_is_measured_whole() -> None:
    done = run(sys.executable, "-c", f"data = b'x' * (300 << 20)\n{BUSY}\nprint(len(data))")
    assert done.output == f"{300 << 20}\n"
    assert done.seconds >= 0.2
    assert done.cpu >= 0.2
    assert 300 < done.peak_mib < 3_000


def test_the_cpu_time_of_its_children_counts() -> None:
    assert run(sys.executable, "-c", f"import subprocess, sys; subprocess.run([sys.executable, '-c', {BUSY!r}])").cpu >= 0.2


def test_one_that_fails_ends_the_benchmark() -> None:
    with pytest.raises(SystemExit, match="ended with 3"):
        run(sys.executable, "-c", "raise SystemExit(3)")


def test_a_row_says_speed_and_size() -> None:
    row = Run(2.0, 3.5, 511.7, "").row("ingest", 1_000_000, 12_340_000)
    assert row == ("ingest", "1,000,000", "2.00 s", "500,000", "3.50 s", "512 MiB", "12.3 MB")
    assert len(row) == len(HEAD)


def test_columns_of_a_table_are_as_wide_as_needed() -> None:
    assert table(("what", "n"), [("a", "1"), ("longer", "1,000")]) == ["what        n", "a           1", "longer  1,000"]


def test_bytes_of_a_file_and_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "within").mkdir()
    (tmp_path / "a").write_bytes(b"12")
    (tmp_path / "within" / "b").write_bytes(b"345")
    assert (stored_bytes(tmp_path / "a"), stored_bytes(tmp_path)) == (2, 5)

"""A source is known by its content: again, grown, renamed, packed, cut, rewritten."""

import bz2
import gzip
import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from core.errors import AuditlakeError
from ingest.batches import Limits
from ingest.follow import Repeated, Unfinished
from ingest.identity import HEAD_BYTES, HEADLESS, KnownSource, Span, batch_id, head_fingerprint, head_length, source_id
from tests.unit.ingest.memory import CONTINUES, Memory, fresh_of, sums


@pytest.fixture
def store(tmp_path: Path) -> Memory:
    return Memory(tmp_path, batch_bytes=100)


def _log(count: int, tag: str = "a", first: int = 0) -> bytes:
    return b"".join(b"line %d of %s\n" % (number, tag.encode()) for number in range(first, first + count))


# ------------------------------------------------------------------------------------------------------ fingerprints, ids


def test_the_head_does_not_change_while_a_file_grows() -> None:
    data = b"#Version: 1.0\n#Fields: a b\nfirst data\nsecond\n"
    length = len(b"#Version: 1.0\n#Fields: a b\nfirst data\n")
    for end in range(len(data) + 1):
        assert head_length(data[:end]) == (length if end >= length else None)
        expected = hashlib.sha256(data[:length]).hexdigest() if end >= length else HEADLESS
        assert head_fingerprint(data[:end]) == expected


def test_a_head_is_64_kib_at_most() -> None:
    assert head_length(b"x" * (HEAD_BYTES - 1)) is None
    assert head_length(b"x" * HEAD_BYTES) == HEAD_BYTES
    assert head_length(b"x" * (HEAD_BYTES - 1) + b"\nmore") == HEAD_BYTES
    assert head_fingerprint(b"x" * HEAD_BYTES) == head_fingerprint(b"x" * HEAD_BYTES + b"y\n")
    assert head_length(b"#\n" * HEAD_BYTES) == HEAD_BYTES


def test_ids_are_short_and_differ_in_every_part() -> None:
    batches = [("s", 1, 23, "d"), ("t", 1, 23, "d"), ("s", 12, 3, "d"), ("s", 1, 24, "d"), ("s", 1, 23, "e")]
    sources = [("k", "", 0, "d"), ("k", "p", 0, "d"), ("k", "", 1, "d"), ("l", "", 0, "d"), ("k", "", 0, "e")]
    ids = {batch_id(*parts) for parts in batches} | {source_id(*parts) for parts in sources}
    assert len(ids) == 10
    assert all(len(one) == 16 and set(one) <= set("0123456789abcdef") for one in ids)


# ------------------------------------------------------------------------------------------------------------- the cases


def test_a_new_file_is_all_fresh_and_one_source(store: Memory) -> None:
    events = store.ingest(_log(50))
    fresh = fresh_of(events)
    assert fresh == events
    assert len(fresh) > 5
    assert [one.new for one in fresh] == [True] + [False] * (len(fresh) - 1)
    assert {one.source for one in fresh} == {fresh[0].source}
    assert fresh[0].branch is None
    assert store.lines == _log(50).splitlines()


def test_ids_do_not_depend_on_when_or_where(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    one, other = Memory(tmp_path, batch_bytes=100), Memory(tmp_path / "other", batch_bytes=100)
    one.ingest(_log(50))
    other.ingest(_log(50), "renamed.log")
    assert one.batches == other.batches


@pytest.mark.parametrize("pack", [bytes, gzip.compress, bz2.compress, zstandard.ZstdCompressor().compress])
@pytest.mark.parametrize("name", ["access.log", "access.log.1"])
def test_the_same_again_in_any_name_and_packing_brings_nothing(store: Memory, pack: Callable[[bytes], bytes], name: str) -> None:
    store.ingest(_log(50))
    for _ in range(2):
        events = store.ingest(pack(_log(50)), name)
        assert sums(events) == (50, 0, 0)
        assert fresh_of(events) == []
        assert [event.end for event in events if isinstance(event, Repeated)][-1] == len(_log(50))
    assert len(store.keys) == len(store.spans) == 1


def test_a_grown_file_extends_its_source(store: Memory) -> None:
    (first, *_) = fresh_of(store.ingest(_log(30)))
    for count in (31, 60, 200):
        before = len(store.lines)
        events = store.ingest(_log(count), f"log.{count}")
        assert sums(events) == (before, count - before, 0)
        assert all((one.source, one.new, one.branch) == (first.source, False, None) for one in fresh_of(events))
        assert store.lines == _log(count).splitlines()


def test_a_shorter_copy_brings_nothing_and_is_no_source(store: Memory) -> None:
    store.ingest(_log(50))
    for count in (1, 2, 7, 49):
        assert sums(store.ingest(_log(count))) == (count, 0, 0)
    assert len(store.spans) == 1


def test_a_copy_cut_within_a_line_leaves_that_line(store: Memory) -> None:
    store.ingest(_log(50))
    assert sums(store.ingest(_log(20)[:-1], leave=True)) == (20, 0, 0), "only its newline is missing"
    assert sums(store.ingest(_log(20)[:-2], leave=True)) == (19, 0, 1)
    assert sums(store.ingest(_log(2)[:-2], leave=True)) == (1, 0, 1)
    assert len(store.spans) == 1


@pytest.mark.parametrize("same", [2, 3, 7, 8, 25, 49])
def test_a_file_that_differs_after_some_lines_is_a_branch(store: Memory, same: int) -> None:
    (first, *_) = fresh_of(store.ingest(_log(50)))
    changed = _log(same) + _log(30, "b", same)
    events = store.ingest(changed)
    assert sums(events) == (same, 30, 0)
    (branch, *others) = fresh_of(events)
    assert branch.new
    assert branch.branch
    assert branch.branch.parent == first.source != branch.source
    assert branch.chunk.start == len(_log(same))
    assert {one.source for one in others} <= {branch.source}
    assert store.lines == _log(50).splitlines() + _log(30, "b", same).splitlines()
    # From now on both are known, each to its end, and both may grow.
    assert sums(store.ingest(_log(50))) == (50, 0, 0)
    assert sums(store.ingest(changed)) == (same + 30, 0, 0)
    assert sums(store.ingest(changed + b"more\n")) == (same + 30, 1, 0)
    assert sums(store.ingest(_log(51))) == (50, 1, 0)
    assert len(store.spans) == 2


def test_a_branch_of_a_branch_finds_the_longest_agreement(store: Memory) -> None:
    files = [
        _log(40),
        _log(20) + _log(20, "b"),
        _log(20) + _log(10, "b") + _log(10, "c"),
        _log(20) + _log(10, "b") + _log(5, "c") + _log(1, "d"),
    ]
    expected = [(0, 40), (20, 20), (30, 10), (35, 1)]
    for text, (repeated, fresh) in zip(files, expected, strict=True):
        assert sums(store.ingest(text)) == (repeated, fresh, 0)
    for text in files:
        assert sums(store.ingest(text)) == (text.count(b"\n"), 0, 0)
    assert len(store.spans) == 4


def test_two_branches_at_one_place_are_two_sources(store: Memory) -> None:
    store.ingest(_log(20))
    store.ingest(_log(10) + _log(5, "b"))
    store.ingest(_log(10) + _log(5, "c"))
    assert len(store.spans) == 3
    assert sums(store.ingest(_log(10) + _log(5, "b"))) == (15, 0, 0)


@pytest.mark.parametrize("head", [b"same first line\n", b"#Version: 1.0\n#Fields: x\nsame first line\n"])
def test_one_equal_line_makes_no_two_files_the_same(store: Memory, head: bytes) -> None:
    store.ingest(head + _log(20, "a"))
    events = store.ingest(head + _log(20, "b"))
    assert sums(events) == (0, 20 + head.count(b"\n"), 0)
    assert fresh_of(events)[0].branch is None
    for tag in ("a", "b"):
        assert sums(store.ingest(head + _log(20, tag))) == (20 + head.count(b"\n"), 0, 0)
    assert len(store.keys) == 1


def test_a_truncated_and_rewritten_file_is_another(store: Memory) -> None:
    store.ingest(_log(50))
    assert sums(store.ingest(_log(10, "b"))) == (0, 10, 0)


def test_an_empty_file_brings_nothing(store: Memory) -> None:
    store.ingest(_log(2))
    for data in (b"", gzip.compress(b"")):
        assert store.ingest(data) == []


def test_spans_may_be_loaded_one_by_one(store: Memory) -> None:
    store.ingest(_log(50))
    (source,) = store.spans
    spans = store.spans[source]
    asked: list[int] = []

    class Lazy(list[Span]):
        def __getitem__(self, index: int) -> Span:  # type: ignore[override] # a sequence need not be sliced
            asked.append(index)
            return super().__getitem__(index)

    store.lookup = lambda key: [KnownSource(source, Lazy(spans))] if key in store.keys else []  # type: ignore[method-assign] # another way to store
    assert sums(store.ingest(_log(50))) == (50, 0, 0)
    assert asked == list(range(len(spans)))
    asked.clear()
    store.ingest(b"line 0 of a\nother\n")
    assert asked == [0]


def test_damage_is_told_after_what_came_before_and_mended_later(store: Memory) -> None:
    data = b"".join(hashlib.sha256(b"%d" % number).hexdigest().encode() + b"\n" for number in range(5000))
    packed = gzip.compress(data)
    store.limits = Limits(batch_bytes=10_000)
    for cut in (len(packed) // 3, len(packed) // 2, len(packed) // 2):
        with pytest.raises(AuditlakeError, match="ends early"):
            store.ingest(packed[:cut])
        assert data.startswith(b"\n".join(store.lines) + b"\n")
    assert 1000 < len(store.lines) < 4000
    store.ingest(packed)
    assert store.lines == data.splitlines()
    assert len(store.spans) == 1


# --------------------------------------------------------------------------------------------------- lines without an end


@pytest.mark.parametrize("ending", [b"\n", b"\r\n", b"\r"])
def test_only_the_newline_was_missing(store: Memory, ending: bytes) -> None:
    assert sums(store.ingest(b"one\ntwo")) == (0, 2, 0)
    for _ in range(2):
        events = store.ingest(b"one\ntwo" + ending)
        assert sums(events) == (2, 0, 0)
        assert fresh_of(events) == []
        assert max(event.end for event in events if isinstance(event, Repeated)) == 7 + len(ending)
    assert sums(store.ingest(b"one\ntwo\nthree\n")) == (2, 1, 0)
    assert sums(store.ingest(b"one\ntwo\nthree\n")) == (3, 0, 0)
    assert store.lines == [b"one", b"two", b"three"]
    assert len(store.spans) == 1


def test_a_line_that_goes_on_is_set_aside_whole_and_once(store: Memory) -> None:
    store.ingest(b"one\ntw")
    events = store.ingest(b"one\ntwo\nthree\n")
    assert sums(events) == (1, 2, 0)
    (fresh,) = fresh_of(events)
    assert fresh.chunk.set_aside.to_pylist() == [{"ingest_row": 0, "source_offset": 4, "reason": CONTINUES, "raw": b"two", "raw_bytes": 3}]
    assert store.lines == [b"one", b"tw", b"two", b"three"]
    assert sums(store.ingest(b"one\ntwo\nthree\n")) == (3, 0, 0)


def test_a_branch_counts_only_lines_of_its_own(store: Memory) -> None:
    store.ingest(b"one\ntwo")
    store.ingest(b"one\ntwo\nthree\nfour\n")
    events = store.ingest(b"one\ntwo\nthree\nother\n")
    assert sums(events) == (3, 1, 0)
    (fresh,) = fresh_of(events)
    assert fresh.branch
    assert fresh.branch.spans == 1
    assert fresh.branch.partial
    assert (fresh.branch.partial.start, fresh.branch.partial.lines) == (7, 1)


def test_a_line_may_go_on_more_than_once(store: Memory) -> None:
    text = b"a long line"
    for end in (1, 3, 4, 11):
        store.ingest(text[:end])
    assert sums(store.ingest(text + b"\nnext\n")) == (1, 1, 0)
    assert store.lines == [b"a", b"a l", b"a lo", text, b"next"]
    assert len(store.spans) == 1


def test_a_last_line_left_is_read_when_it_is_whole(store: Memory) -> None:
    events = store.ingest(b"one\ntw", leave=True)
    assert sums(events) == (0, 1, 1)
    assert events[-1] == Unfinished(4, 2)
    assert store.ingest(b"one\ntwo", leave=True)[-1] == Unfinished(4, 3)
    assert sums(store.ingest(b"one\ntwo\n", leave=True)) == (1, 1, 0)
    assert store.lines == [b"one", b"two"]
    assert store.ingest(b"nothing else", leave=True) == [Unfinished(0, 12)]


def test_a_line_longer_than_many_chunks_grows_and_counts_once(tmp_path: Path) -> None:
    store = Memory(tmp_path, batch_bytes=100, line_bytes=50)
    text = b"x\n" + b"y" * 1000
    events = store.ingest(text, leave=True)
    assert sums(events) == (0, 1, 1)
    assert events[-1] == Unfinished(2, 1000)
    assert sums(store.ingest(text, leave=True)) == (1, 0, 1)
    read = max(span.end for spans in store.spans.values() for span in spans)
    cut = store.ingest(text[:read])
    assert sums(cut) == (1, 0, 1), "nothing new, and no end of the line"
    assert cut[-1] == Unfinished(2, read - 2)
    longer = text + b"y" * 300 + b"\nend\n"
    assert sums(store.ingest(longer)) == (1, 2, 0)
    assert sums(store.ingest(longer)) == (3, 0, 0)
    assert store.lines == [b"x", b"y" * 1300, b"end"]
    assert len(store.spans) == 1


# ---------------------------------------------------------------------------------------------------------------- crashes


@pytest.mark.parametrize("done", [0, 1, 3])
@pytest.mark.parametrize("grown", [50, 51, 90])
def test_after_a_crash_all_is_as_if_the_lost_batch_had_never_been_tried(tmp_path: Path, done: int, grown: int) -> None:
    (tmp_path / "other").mkdir()
    store, unharmed = Memory(tmp_path, batch_bytes=100), Memory(tmp_path / "other", batch_bytes=100)
    assert len(fresh_of(store.ingest(_log(50), stop_before=done))) == done == len(store.batches)
    stored = len(store.lines)
    events = store.ingest(_log(grown))
    assert sums(events) == (stored, grown - stored, 0)
    unharmed.ingest(_log(grown))
    assert (store.lines, store.batches, store.spans) == (unharmed.lines, unharmed.batches, unharmed.spans)
    assert store.lines == _log(grown).splitlines()


@pytest.mark.parametrize("before", [b"one\ntw", b"one\ntwo"])
@pytest.mark.parametrize("more", [b"", b"three\n"])
def test_a_lost_batch_that_ended_within_a_line_leaves_no_part_of_it(store: Memory, before: bytes, more: bytes) -> None:
    store.ingest(before, stop_before=0)
    events = store.ingest(b"one\ntwo\n" + more)
    assert sums(events) == (0, 2 + more.count(b"\n"), 0)
    assert store.lines == [b"one", b"two", *more.splitlines()]
    assert all(one.chunk.set_aside.num_rows == 0 for one in fresh_of(events))


def test_lines_of_a_lost_batch_are_not_taken_for_read(store: Memory) -> None:
    store.ingest(_log(50), stop_before=1)
    stored = len(store.lines)
    assert 0 < stored < 20
    events = store.ingest(_log(20) + _log(4, "b"))
    assert sums(events) == (stored, 24 - stored, 0)
    assert not any(one.new for one in fresh_of(events))
    assert sums(store.ingest(_log(50))) == (20, 30, 0)
    assert len(store.spans) == 2


def test_a_source_that_agrees_whole_is_preferred_to_a_branch(store: Memory, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    other = Memory(tmp_path / "other", batch_bytes=70)
    (exact,) = {one.source for one in fresh_of(store.ingest(_log(20)))}
    (longer,) = {one.source for one in fresh_of(other.ingest(_log(30)))}
    store.spans[longer] = other.spans[longer]
    for order in ([exact, longer], [longer, exact]):
        store.keys = dict.fromkeys(store.keys, order)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(store, "store", lambda _fresh: None)
            events = store.ingest(_log(20) + _log(3, "b"))
        assert sums(events) == (20, 3, 0)
        assert {(one.source, one.new) for one in fresh_of(events)} == {(exact, False)}

"""Messages of a TCP connection, however its bytes come in."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.syslog_frames import Frames, line_of

MESSAGES = st.lists(st.binary(max_size=40).map(lambda rest: b"<1>" + rest), max_size=12)
LONGEST = 20


def counted(*messages: bytes) -> bytes:
    return b"".join(b"%d %s" % (len(message), message) for message in messages)


def fed(data: bytes, cuts: list[int]) -> tuple[bytes, Frames]:
    frames = Frames(LONGEST)
    places = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return b"".join(frames.feed(data[one:two]) for one, two in itertools.pairwise(places)), frames


@given(messages=MESSAGES, cuts=st.lists(st.integers(0, 1000), max_size=30))
def test_octets_counted(messages: list[bytes], cuts: list[int]) -> None:
    lines, frames = fed(counted(*messages), cuts)
    assert lines == b"".join(line_of(message[:LONGEST]) for message in messages)
    assert frames.cut == sum(len(message) > LONGEST for message in messages)
    assert frames.finish() == (b"", False)
    assert not frames.broken


@given(messages=MESSAGES, cuts=st.lists(st.integers(0, 1000), max_size=30))
def test_a_newline_after_each(messages: list[bytes], cuts: list[int]) -> None:
    texts = [message.replace(b"\n", b"") for message in messages]
    lines, frames = fed(b"".join(text + b"\n" for text in texts), cuts)
    found = lines.split(b"\n")[:-1]
    assert [one[:LONGEST] for one in found] == [text[:LONGEST] for text in texts]
    assert frames.finish() == (b"", False)


def test_a_number_is_a_count_only_before_a_message() -> None:
    for text in (b"200 GET /\n", b"127.0.0.1 - -\n", b"0 <1>x\n", b"1234567890 <1>x\n"):
        assert fed(text, list(range(20)))[0] == text


def test_the_last_message_may_lack_its_newline() -> None:
    lines, frames = fed(b"<1>a\n<1>b", [])
    assert (lines, frames.finish()) == (b"<1>a\n", (b"<1>b\n", False))


@pytest.mark.parametrize("data", [b"9 <1>", b"90 <1>" + b"x" * 30, b"4 <1>a7", b"5"])
def test_what_the_end_of_the_connection_cuts_off(data: bytes) -> None:
    assert fed(data, [])[1].finish() == (b"", True)


def test_a_count_that_is_missing_ends_the_reading() -> None:
    frames = Frames(LONGEST)
    assert frames.feed(b"4 <1>ax<1>b\n") == b"<1>a\n"
    assert frames.broken
    assert (frames.feed(b"4 <1>c"), frames.finish()) == (b"", (b"", False))


def test_a_long_line_is_cut_and_its_rest_skipped() -> None:
    frames = Frames(LONGEST)
    assert frames.feed(b"<1>" + b"a" * 30) == b"<1>" + b"a" * 17 + b"\n"
    assert frames.feed(b"b" * 50) == b""
    assert frames.feed(b"c\n<1>d\n") == b"<1>d\n"
    assert frames.cut == 1


@pytest.mark.parametrize(
    ("message", "line"), [(b"<1>a\nb\r\n\0", b"<1>a#012b\n"), (b"", b""), (b"\n\0", b""), (b"<1>a", b"<1>a\n"), (b" a ", b" a \n")]
)
def test_a_datagram_is_a_line(message: bytes, line: bytes) -> None:
    assert line_of(message) == line

"""Many lines in blocks: what one block leaves undecided, and the order of all."""

import numpy as np
import pyarrow as pa
import pytest

from ingest import formats
from ingest.formats.base import Parsed, State
from ingest.formats.verdicts import UNDECIDED, Parse, Verdicts, parse_in_blocks
from ingest.lines import Lines
from tests.unit.ingest.line_rows import lines_of


def parser(good: bytes, undecided: bytes = b"") -> Parse:
    def parse(lines: Lines, state: State) -> Parsed:  # noqa: ARG001 - the protocol's
        verdicts = Verdicts(len(lines))
        first = [lines.line(number)[:1] for number in range(len(lines))]
        verdicts.reject(np.array([one not in (good, undecided) for one in first], np.bool_), "neither")
        verdicts.reject(np.array([bool(undecided) and one == undecided for one in first], np.bool_), UNDECIDED)
        texts = [lines.line(number).decode() for number in np.flatnonzero(verdicts.good).tolist()]
        return verdicts.parsed(pa.record_batch({"text": pa.array(texts, pa.string())}))

    return parse


@pytest.mark.parametrize("size", [1, 2, 3, 100])
def test_lines_left_undecided_come_back_in_their_places(size: int) -> None:
    texts = ["a0", "b1", "x2", "a3", "b4", "y5", "a6", "b7"]
    parsed = parse_in_blocks(parser(b"a", b"b"), lines_of(*texts), size=size, again=parser(b"b"))
    assert parsed.rows["text"].to_pylist() == ["a0", "b1", "a3", "b4", "a6", "b7"]
    assert parsed.numbers.tolist() == [0, 1, 3, 4, 6, 7]
    assert (parsed.rejected.tolist(), parsed.reasons) == ([2, 5], ["neither", "neither"])


def test_what_the_second_parse_rejects_has_its_reason() -> None:
    parsed = parse_in_blocks(parser(b"a", b"b"), lines_of("b0", "a1", "x2", "b3"), size=2, again=parser(b"c"))
    assert parsed.rows["text"].to_pylist() == ["a1"]
    assert (parsed.rejected.tolist(), parsed.reasons) == ([0, 2, 3], ["neither"] * 3)


def test_many_undecided_lines_between_the_others() -> None:
    texts = [f"{'ab'[number % 2]}{number}" for number in range(10_000)]
    parsed = parse_in_blocks(parser(b"a", b"b"), lines_of(*texts), size=1000, again=parser(b"b"))
    assert parsed.rows["text"].to_pylist() == texts


USUAL = '{0}.0.0.1 - - [17/May/2015:10:05:03 +0000] "GET /{0} HTTP/1.1" 200 {0} "-" "agent {0}"'
CUT = '9.9.9.9 - - [17/May/2015:10:05:03 +0000] "GET /cut HTTP/1.1" 200 1 "-" "agent that was cut'


def test_a_few_odd_lines_among_many_blocks_of_usual_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ingest.formats.verdicts.parse_in_blocks.__defaults__", (None, 20))
    texts = [USUAL.format(number) for number in range(200)]
    texts[7], texts[100], texts[150], texts[199] = CUT, "nonsense", CUT, CUT
    parsed = formats.parse(formats.get("combined"), lines_of(*texts))
    agents = [f"agent {number}" for number in range(200)]
    agents[7] = agents[150] = agents[199] = "agent that was cut"
    assert parsed.rows["user_agent_original"].to_pylist() == agents[:100] + agents[101:]
    assert parsed.rejected.tolist() == [100]
    assert parsed.reasons == formats.parse(formats.get("combined"), lines_of("nonsense")).reasons

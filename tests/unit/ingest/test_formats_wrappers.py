"""Wrappers: their headers, split messages put together, what they say beside a message, and that no line is lost."""

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest import formats
from ingest.formats.access import COMBINED
from ingest.formats.base import Format, Parsed, is_stateful
from ingest.formats.detection import detect
from ingest.formats.messages import LONGEST
from ingest.formats.wrappers import WRAPPERS, wrap
from tests.unit.ingest.test_formats_registry import lines_of

LINE = COMBINED.sample
ROW = formats.parse(COMBINED, lines_of(LINE)).rows.to_pylist()[0]
CRI = "2016-10-06T00:17:09.669794202Z"
every_wrapper = pytest.mark.parametrize("wrapper", WRAPPERS, ids=lambda one: one.name)


def wrapped(name: str) -> Format:
    return wrap(name, COMBINED)


def labels(name: str, text: str) -> dict[str, Any]:
    parsed = formats.parse(wrapped(name), lines_of(text))
    assert parsed.reasons == []
    found = parsed.rows.to_pylist()[0]
    assert {column: found[column] for column in ROW if column != "labels"} == {column: ROW[column] for column in ROW if column != "labels"}
    return dict(json.loads(found["labels"] or "{}"))


def reason(name: str, text: str) -> str:
    parsed = formats.parse(wrapped(name), lines_of(text))
    assert len(parsed.rejected) == 1
    return parsed.reasons[0]


def docker(log: str, **more: Any) -> str:
    return json.dumps({"log": log, "stream": "stdout", "time": "2024-01-01T00:00:00.1Z"} | more)


def journal(message: Any, **more: Any) -> str:
    return json.dumps({"__REALTIME_TIMESTAMP": "971211336100000", "MESSAGE": message} | more)


@every_wrapper
def test_its_sample_holds_a_line_of_combined(wrapper: Any) -> None:
    parsed = formats.parse(wrap(wrapper.name, COMBINED), lines_of(wrapper.sample))
    assert [row["user_agent_original"] for row in parsed.rows.to_pylist()] == [ROW["user_agent_original"]]
    assert wrap(wrapper.name, COMBINED).name == f"{wrapper.name}+combined"


@every_wrapper
def test_lines_of_no_wrapper_are_told_apart(wrapper: Any) -> None:
    others = [one.sample for one in WRAPPERS if one is not wrapper]
    unwrapped = wrapper.unwrap(lines_of(LINE, formats.get("json").sample, "x", *others))
    assert len(unwrapped.rejected) == 3 + len(others)


@every_wrapper
@given(texts=st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0\n"), min_size=1, max_size=80), min_size=1, max_size=9))
def test_any_line_has_one_outcome(wrapper: Any, texts: list[str]) -> None:
    form = wrap(wrapper.name, COMBINED)
    framed = [wrapper.sample.replace("127.0.0.1", text) for text in texts]
    formats.parse(form, lines_of(*texts, *(one for one in framed if "\n" not in one)))


# ------------------------------------------------------------------------------------------------------------- syslog


@pytest.mark.parametrize(
    ("header", "said"),
    [
        (
            "<190>Oct 10 13:55:36 web1 nginx[812]: ",
            {"priority": "190", "time": "Oct 10 13:55:36", "host": "web1", "program": "nginx", "pid": "812"},
        ),
        ("Oct  1 13:55:36 web1 nginx: ", {"time": "Oct  1 13:55:36", "host": "web1", "program": "nginx"}),
        ("Feb 29 13:55:36 nginx[812]: ", {"time": "Feb 29 13:55:36", "program": "nginx", "pid": "812"}),
        ("<13>Oct 10 13:55:36 web1 ", {"priority": "13", "time": "Oct 10 13:55:36", "host": "web1"}),
        (
            "2000-10-10T13:55:36.123456-07:00 web1 nginx[812]: ",
            {"time": "2000-10-10T13:55:36.123456-07:00", "host": "web1", "program": "nginx", "pid": "812"},
        ),
        (
            "<165>1 2000-10-10T13:55:36Z web1 nginx 812 ID47 - ",
            {"priority": "165", "time": "2000-10-10T13:55:36Z", "host": "web1", "program": "nginx", "pid": "812", "msgid": "ID47"},
        ),
        ("<165>1 - - - - - - ", {"priority": "165"}),
        ("<165>1 - - - - - - \ufeff", {"priority": "165"}),
        (r'<1>1 - - - - - [a@1 b="\]\" ]"][c] ', {"priority": "1", "structured": r'[a@1 b="\]\" ]"][c]'}),
    ],
)
def test_syslog_headers(header: str, said: dict[str, str]) -> None:
    assert labels("syslog", header + LINE) == {f"syslog.{name}": value for name, value in said.items()}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (LINE, "no syslog header"),
        ("<192>1 - - - - - - x", "no syslog header"),
        ("<1a>1 - - - - - - x", "no syslog header"),
        ("<1>2 - - - - - - x", "no syslog header"),
        ("1 - - - - - - x", "no syslog header"),
        ("<1>1 x - - - - - x", "no syslog header"),
        ('<1>1 - - - - - [a b="x] x', "no syslog header"),
        ("Feb 30 13:55:36 web1 nginx: x", "no syslog header"),
        ("Oct 10 24:55:36 web1 nginx: x", "no syslog header"),
        ("Oct 10 13:55:36", "no syslog header"),
        ("2000-10-10T13:55:36Z stdout F x", "no syslog header"),
        ("2000-10-10 13:55:36 web1 nginx: x", "no syslog header"),
        ("Oct 10 13:55:36 web1 nginx: ", "the message is empty"),
        ("<1>1 - - - - - -", "the message is empty"),
        ("Oct 10 13:55:36 web1 nginx: x", "no time in brackets"),
    ],
)
def test_what_syslog_rejects(text: str, why: str) -> None:
    assert reason("syslog", text) == why


# ------------------------------------------------------------------------------------------------- docker and journald


def test_docker() -> None:
    assert labels("docker", docker(LINE + "\n")) == {"docker.stream": "stdout", "docker.time": "2024-01-01T00:00:00.1Z"}
    assert labels("docker", docker(LINE + "\r\n", stream="stderr", attrs={"tag": "x"}))["docker.stream"] == "stderr"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{}", "no log, stream and time in it"),
        ("[1]", "no log, stream and time in it"),
        ("{", "no log, stream and time in it"),
        (docker("\n"), "the message is empty"),
        (docker("a\nb\n"), "the message holds a newline or NUL byte"),
        (docker("a\0b\n"), "the message holds a newline or NUL byte"),
        ('{"log":' + "[" * 100 + "]" * 100 + "}", "nested too deep"),
    ],
)
def test_what_docker_rejects(text: str, why: str) -> None:
    assert reason("docker", text) == why


def test_journald() -> None:
    said = {"_HOSTNAME": "web1", "SYSLOG_IDENTIFIER": "nginx", "_PID": "812", "_SYSTEMD_UNIT": "nginx.service", "_BOOT_ID": "x"}
    assert labels("journald", journal(LINE, **said)) == {
        "journald.time": "971211336100000",
        "journald.host": "web1",
        "journald.program": "nginx",
        "journald.unit": "nginx.service",
        "journald.pid": "812",
    }


def test_a_journal_message_of_bytes() -> None:
    raw = LINE.replace("Nav", "é").encode().replace(b"Win98", b"\xff")
    parsed = formats.parse(wrapped("journald"), lines_of(journal([*raw])))
    assert parsed.rows.to_pylist()[0]["user_agent_original"] == r"Mozilla/4.08 [en] (\xff; I ;é)"
    assert json.loads(parsed.rows.to_pylist()[0]["labels"])["journald.time"] == "971211336100000"
    assert reason("journald", journal([300])) == "no time in brackets"


@pytest.mark.parametrize(("text", "why"), [(journal(None), "no message in it"), ('{"MESSAGE":"x"}', "no __REALTIME_TIMESTAMP in it")])
def test_what_journald_rejects(text: str, why: str) -> None:
    assert reason("journald", text) == why


# ------------------------------------------------------------------------------------------------------------ shippers

FILEBEAT = {"@timestamp": "2000-10-10T20:55:37Z", "host": {"name": "web1"}, "log": {"file": {"path": "/l"}, "offset": 7}, "tags": ["a"]}


@pytest.mark.parametrize(
    ("document", "said"),
    [
        (FILEBEAT | {"message": LINE}, {"time": "2000-10-10T20:55:37Z", "host": "web1", "file": "/l", "tags": '["a"]'}),
        (
            {"message": LINE, "timestamp": "t", "host": "web1", "file": "/l", "source_type": "file"},
            {"time": "t", "host": "web1", "file": "/l"},
        ),
        ({"log": LINE + "\n", "@timestamp": "t", "host.name": "h", "log.file.path": "/l"}, {"time": "t", "host": "h", "file": "/l"}),
        ({"message": LINE}, {}),
    ],
)
def test_documents_of_shippers(document: dict[str, Any], said: dict[str, str]) -> None:
    assert labels("shipper", json.dumps(document)) == {f"shipper.{name}": value for name, value in said.items()}


@pytest.mark.parametrize(
    ("document", "why"),
    [
        ({"message": LINE, "url": {"path": "/"}}, "members of a request beside the line"),
        ({"message": LINE, "http_request_method": "GET"}, "members of a request beside the line"),
        ({"log": LINE, "stream": "stdout"}, "no message in it"),
        ({"log": {"level": "info"}}, "no message in it"),
        ({"message": "a\nb"}, "the message holds a newline or NUL byte"),
        ({"message": "\r\n"}, "the message is empty"),
        ({"message": "x"}, "no time in brackets"),
    ],
)
def test_what_is_none_of_a_shipper(document: dict[str, Any], why: str) -> None:
    assert reason("shipper", json.dumps(document)) == why


def test_auto_finds_the_line_in_a_document() -> None:
    found = detect(lines_of(*(json.dumps(FILEBEAT | {"message": LINE}) for _ in range(3))))
    assert found.name == "shipper+combined"


# ------------------------------------------------------------------------------------------------------ split messages


def parts(name: str, pieces: list[tuple[str, str]]) -> list[str]:
    """Lines that carry (stream, text); the last of each stream is whole."""
    last = {stream: number for number, (stream, _) in enumerate(pieces)}
    if name == "docker":
        return [docker(text + "\n" * (last[stream] == number), stream=stream) for number, (stream, text) in enumerate(pieces)]
    return [f"{CRI} {stream} {'F' if last[stream] == number else 'P'} {text}" for number, (stream, text) in enumerate(pieces)]


PIECES = [("stdout", LINE[:30]), ("stderr", LINE[:50]), ("stdout", LINE[30:70]), ("stderr", LINE[50:]), ("stdout", LINE[70:])]


@pytest.mark.parametrize("name", ["docker", "cri"])
def test_parts_are_put_together_by_stream(name: str) -> None:
    parsed = formats.parse(wrapped(name), lines_of(*parts(name, PIECES)))
    assert (parsed.numbers.tolist(), parsed.eventless.tolist(), parsed.state) == ([3, 4], [0, 1, 2], None)
    assert [row["user_agent_original"] for row in parsed.rows.to_pylist()] == [ROW["user_agent_original"]] * 2
    assert [json.loads(row["labels"])[f"{name}.stream"] for row in parsed.rows.to_pylist()] == ["stderr", "stdout"]


@pytest.mark.parametrize("name", ["docker", "cri"])
@pytest.mark.parametrize("cut", range(len(PIECES) + 1))
def test_a_parse_in_two_goes_is_the_same(name: str, cut: int) -> None:
    lines, form = parts(name, PIECES), wrapped(name)
    first = formats.parse(form, lines_of(*lines[:cut]))
    second = formats.parse(form, lines_of(*lines[cut:]), first.state)
    whole = formats.parse(form, lines_of(*lines))
    assert first.rows.to_pylist() + second.rows.to_pylist() == whole.rows.to_pylist()
    assert [*first.eventless, *(second.eventless + cut)] == whole.eventless.tolist()
    assert is_stateful(form)
    assert form.skim(lines_of(*lines[:cut])) == first.state  # type: ignore[attr-defined] # a stateful format has it


def test_a_message_that_never_ends_is_rejected_and_not_kept() -> None:
    form, part = wrapped("cri"), f"{CRI} stdout P " + "x" * (LONGEST // 4)
    parsed = formats.parse(form, lines_of(*[part] * 6))
    assert len(parsed.eventless) == 6
    assert len(str(parsed.state)) < 1.1 * LONGEST
    ended = formats.parse(form, lines_of(f"{CRI} stdout F x", f"{CRI} stdout F {LINE}"), parsed.state)
    assert (ended.numbers.tolist(), ended.reasons, ended.state) == ([1], [f"split message longer than {LONGEST} bytes"], None)


@pytest.mark.parametrize("tag", ["X", "FP", "", "F", "F:a:b"])
def test_cri_tags(tag: str) -> None:
    parsed = formats.parse(wrapped("cri"), lines_of(f"{CRI} stdout {tag} {LINE}"))
    assert len(parsed.numbers) == (tag[:1] == "F" and tag != "FP")


# ------------------------------------------------------------------------------------------------------------- labels


def test_a_message_cannot_forge_what_the_wrapper_says() -> None:
    form = wrap("docker", formats.get("json"))
    inner = {"@timestamp": 1, "docker.stream": "forged", "docker.more": "kept", "x": 1}
    found: Parsed = formats.parse(form, lines_of(docker(json.dumps(inner) + "\n"), docker(json.dumps({"@timestamp": 1, "x": 2}) + "\n")))
    assert [json.loads(row["labels"]) for row in found.rows.to_pylist()] == [
        {"docker.stream": "stdout", "docker.time": "2024-01-01T00:00:00.1Z", "docker.more": "kept", "x": 1},
        {"docker.stream": "stdout", "docker.time": "2024-01-01T00:00:00.1Z", "x": 2},
    ]


def test_rejected_lines_of_wrapper_and_format_are_in_order() -> None:
    lines = [docker("bad\n"), "{}", docker(LINE + "\n"), docker("bad\n"), "{}"]
    parsed = formats.parse(wrapped("docker"), lines_of(*lines))
    assert np.array_equal(parsed.rejected, [0, 1, 3, 4])
    assert parsed.reasons == ["no time in brackets", "no log, stream and time in it"] * 2

"""Agents against ua-parser's own expectations, real traffic's device categories, real robots, and Elastic's documents."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms import agents as agents_module
from transforms.agents import DEVICE_TYPES, Agents

DATA = Path(__file__).parents[2] / "data" / "user-agents"
AGENTS = Agents()


def read(*agents: str | None) -> list[dict[str, str | None]]:
    batch = pa.RecordBatch.from_pydict({"user_agent_original": pa.array(agents, pa.string())})
    rows: list[dict[str, str | None]] = AGENTS.apply(batch).to_pylist()
    return [{name.removeprefix("user_agent_"): value for name, value in row.items()} for row in rows]


def device_types(*agents: str) -> list[str | None]:
    return [row["device_type"] for row in read(*agents)]


def expectations(name: str) -> Iterator[tuple[str, dict[str, str]]]:
    """The cases of a test file of uap-core: an agent and its fields. A reader of just this YAML."""
    for case in (DATA / "uap-core" / name).read_text(encoding="utf-8").split("- user_agent_string:")[1:]:
        text, *fields = case.strip().split("\n")
        quote = text[0] if text[0] in "'\"" else ""
        agent = text.strip(quote) if quote else text
        agent = agent.replace("''", "'") if quote == "'" else agent.replace('\\"', '"')
        pairs = (re.match(r"\s+(\w+):\s*['\"]?(.*?)['\"]?\s*$", field) for field in fields)
        yield agent, {pair[1]: pair[2] for pair in pairs if pair and pair[2]}


@pytest.mark.parametrize(("file", "prefix", "least"), [("test_ua.yaml", "", 1600), ("test_os.yaml", "os_", 480)])
def test_agrees_with_uap_core(file: str, prefix: str, least: int) -> None:
    cases = list(expectations(file))
    assert len(cases) >= least
    rows = read(*(agent for agent, _ in cases))
    wrong = [agent for (agent, fields), row in zip(cases, rows, strict=True) if (row[f"{prefix}name"] or "Other") != fields["family"]]
    assert wrong == []
    for (agent, fields), row in zip(cases, rows, strict=True):
        parts = [fields[name] for name in ("major", "minor", "patch", "patch_minor") if name in fields]
        found = (row[f"{prefix}version"] or "").split(".") if row[f"{prefix}version"] else []
        # The files leave the fourth part out.
        assert ".".join(found).startswith(".".join(parts)), agent


def test_agrees_with_elastic() -> None:
    documents = [doc for doc in json.loads((DATA / "elastic-beats" / "expected.json").read_text("utf-8")) if "user_agent.original" in doc]
    documents = [doc for doc in documents if doc["user_agent.original"] != "-"]
    assert len(documents) > 30
    for document, row in zip(documents, read(*(doc["user_agent.original"] for doc in documents)), strict=True):
        for field in ("name", "version", "os.name", "os.version", "device.name"):
            assert row[field.replace(".", "_")] == document.get(f"user_agent.{field}"), document


def test_device_types_of_real_traffic() -> None:
    lines = (DATA / "weighted" / "device-categories.tsv").read_text("utf-8").splitlines()
    rows = [line.split("\t", 2) for line in lines]
    found = device_types(*(agent for _, _, agent in rows))
    total = sum(int(count) for _, count, _ in rows)
    agreed = sum(int(count) for (category, count, _), kind in zip(rows, found, strict=True) if category == kind)
    assert total == 10_000
    assert agreed >= 9_990


def test_robots_are_bots() -> None:
    known: list[dict[str, Any]] = json.loads((DATA / "crawler-user-agents" / "crawler-user-agents.json").read_text("utf-8"))
    agents = [agent for crawler in known for agent in crawler["instances"]]
    found = device_types(*agents)
    assert len(agents) == 2_115
    assert found.count("bot") / len(agents) > 0.95


@pytest.mark.parametrize(
    ("agent", "kind"),
    [
        ("curl/8.5.0", "bot"),
        ("python-requests/2.31.0", "bot"),
        ("Go-http-client/1.1", "bot"),
        ("Mozilla/5.0 (compatible; Example; +https://example.com/about)", "bot"),
        ("Mozilla/5.0 (compatible; Example)", "bot"),
        ("Zabbix", "bot"),
        ("Mozilla/5.0 (Linux; Android 9; CUBOT X19) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/96.0 Mobile Safari/537.36", "mobile"),
        ("Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 Chrome/150.0 Mobile Safari/537.36 (Ecosia android@150.0)", "mobile"),
        ("Mozilla/5.0 (iPad; CPU OS 15_3 like Mac OS X) AppleWebKit/605.1.15 Version/15.3 Mobile/15E148 Safari/604.1", "tablet"),
        ("Mozilla/5.0 (X11; Linux x86_64; rv:130.0) Gecko/20100101 Firefox/130.0", "desktop"),
        ("Mozilla/5.0 (PlayStation 4 8.00) AppleWebKit/605.1.15 (KHTML, like Gecko)", "other"),
    ],
)
def test_device_type(agent: str, kind: str) -> None:
    assert device_types(agent) == [kind]


def test_no_agent_gives_nulls() -> None:
    for row in read(None, "", "-", "  "):
        assert {value for name, value in row.items() if name != "original"} == {None}


def test_an_unknown_agent_keeps_ua_parsers_word_for_it() -> None:
    (row,) = read("Mozilla/9 something")
    assert (row["name"], row["device_name"], row["os_name"]) == ("Other", "Other", None)


def test_a_huge_agent_is_read_at_its_beginning_and_kept_whole() -> None:
    huge = "Mozilla/5.0 (X11; Linux x86_64; rv:130.0) Gecko/20100101 Firefox/130.0 " + "curl " * 200_000
    (row,) = read(huge)
    assert row["original"] == huge
    assert (row["name"], row["version"]) == ("Firefox", "130.0")


def test_forgetting_agents_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    agents = [f"Mozilla/5.0 (X11; Linux x86_64; rv:{n}.0) Gecko/20100101 Firefox/{n}.0" for n in range(9)]
    before = read(*agents)
    monkeypatch.setattr("transforms.agents._REMEMBERED", 2)
    AGENTS._known.clear()
    assert read(*agents) == before
    assert len(AGENTS._known) <= 2


def test_agents_that_cannot_be_robots_are_told_at_once_and_rightly() -> None:
    """The quick expression must fit whatever the exact one fits, for every text that is left to it."""
    known = json.loads((DATA / "crawler-user-agents" / "crawler-user-agents.json").read_text("utf-8"))
    texts = [agent for crawler in known for agent in crawler["instances"]] + [agent for agent, _ in expectations("test_ua.yaml")]
    texts += ["bot", "CUBOT", "a@b.c", "x www.y", "Java/8", "ruby", "PYTHON-requests", "fetch me"]
    perhaps = pc.match_substring_regex(pa.array(texts), agents_module._PERHAPS_ROBOT, ignore_case=True).to_pylist()
    robots = [bool(agents_module._ROBOT.search(text)) for text in texts]
    assert 1000 < sum(robots) < sum(perhaps) < len(texts)
    assert not [text for text, is_robot, may_be in zip(texts, robots, perhaps, strict=True) if is_robot and not may_be and text.isascii()]


def test_version_names_the_expressions() -> None:
    assert AGENTS.version["type"] == "ua-parser"
    assert re.fullmatch(r"\d{6}(\.\d+)*", AGENTS.version["build"])


@given(st.lists(st.one_of(st.none(), st.text(), st.text("²٣0123456789./ MozilaWndwsNTAridX;()", max_size=40)), max_size=6))
def test_total(agents: list[str | None]) -> None:
    rows = read(*agents)
    assert [row["original"] for row in rows] == agents
    assert {row["device_type"] for row in rows} <= {*DEVICE_TYPES, None}

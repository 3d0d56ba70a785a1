"""The example configurations for shippers: their syntax, and that they name only what is there."""

import re
import tomllib
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import strictyaml
from starlette.routing import Match, Route

from auditlake.settings import Settings
from auditlake.web.app import make_app
from auditlake.web.site import Site
from auditlake.web.workers import Pool

FOLDER = Path(__file__).resolve().parents[2] / "deploy" / "shippers"
EXAMPLES = {path.name: path.read_text() for path in sorted(FOLDER.iterdir())}
SENT = {
    "filebeat.yml": ["/es/_bulk"],
    "fluent-bit.yaml": ["/v1/ingest/requests", "/es/_bulk", "/v1/logs"],
    "otel-collector.yaml": ["/v1/logs"],
    "rsyslog.conf": [],
    "syslog-ng.conf": ["/v1/ingest/requests"],
    "vector.toml": ["/v1/ingest/requests", "/v1/logs"],
}
ADDRESS = re.compile(r"/(?:v1/[a-z]+(?:/[a-z]+)?|es)(?=[?\s\"]|$)", re.MULTILINE)
VARIABLE = re.compile(r"\$\{(?:env:)?([A-Z_]+)\}|`(?:echo \$)?([A-Z_]+)`")
WITHOUT_TOKEN = {"rsyslog.conf"}


def addresses(text: str) -> list[str]:
    """Where it sends to; below /es shippers append the bulk API's name."""
    return [f"{found}/_bulk" if found == "/es" else found for found in ADDRESS.findall(text)]


def routes() -> list[Route]:
    site = SimpleNamespace(lake=SimpleNamespace(settings=Settings(), context=None), people=None, writer=None, rate=None)
    app = make_app(cast("Site", site), cast("Pool", None))
    return [route for route in app.routes if isinstance(route, Route)]


@pytest.mark.parametrize("name", EXAMPLES)
def test_it_sends_where_there_is_something(name: str) -> None:
    assert addresses(EXAMPLES[name]) == SENT[name]
    for path in SENT[name]:
        scope = {"type": "http", "method": "POST", "path": path}
        assert any(route.matches(scope)[0] is Match.FULL for route in routes()), path


@pytest.mark.parametrize("name", EXAMPLES)
def test_its_token_and_places_come_from_the_environment(name: str) -> None:
    used = {one or two for one, two in VARIABLE.findall(EXAMPLES[name])} - {"MESSAGE"}  # a macro of syslog-ng
    assert ("AUDITLAKE_TOKEN" in used) == (name not in WITHOUT_TOKEN)
    assert used & {"AUDITLAKE_URL", "AUDITLAKE_HOST"}
    told = "".join(line for line in EXAMPLES[name].splitlines() if line.startswith("#"))
    assert [variable for variable in used if variable not in told] == []
    assert "al_" not in EXAMPLES[name]


def _documents() -> dict[str, Any]:
    found: dict[str, Any] = {"vector.toml": tomllib.loads(EXAMPLES["vector.toml"])}
    for name, text in EXAMPLES.items():
        if name.endswith((".yaml", ".yml")):
            found[name] = strictyaml.load(text).data
    return found


def test_the_syntax_of_toml_and_yaml() -> None:
    documents = _documents()
    assert set(documents) == {"vector.toml", "fluent-bit.yaml", "otel-collector.yaml", "filebeat.yml"}
    assert {sink["inputs"][0].partition(".")[0] for sink in documents["vector.toml"]["sinks"].values()} == set(
        documents["vector.toml"]["sources"]
    )
    pipe = documents["fluent-bit.yaml"]["pipeline"]
    assert {output["match"] for output in pipe["outputs"]} == {source["tag"] for source in pipe["inputs"]}
    collector = documents["otel-collector.yaml"]
    assert set(collector["service"]["pipelines"]["logs"]["exporters"]) == set(collector["exporters"])
    assert set(collector["service"]["extensions"]) == set(collector["extensions"])
    assert documents["filebeat.yml"]["setup.ilm.enabled"] == documents["filebeat.yml"]["setup.template.enabled"] == "false"

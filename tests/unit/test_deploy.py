"""What is in deploy/ fits the program: options that systemd knows, paths and ports that are there, figures that are told."""

import json
import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import click
import pytest

from auditlake import serve
from auditlake.cli import cli
from auditlake.settings import Settings, load
from auditlake.web.metrics import FIGURES

ROOT = Path(__file__).resolve().parents[2]
UNIT, IMAGE = ROOT / "deploy" / "auditlake.service", ROOT / "deploy" / "Dockerfile"
BOARD, ALERTS = ROOT / "deploy" / "grafana" / "auditlake.json", ROOT / "deploy" / "prometheus" / "alerts.yml"
WORDS = {"instance", "job"}  # labels that Prometheus adds


def options() -> dict[str, list[str]]:
    """The unit's options; one may be there several times."""
    found: dict[str, list[str]] = {}
    for line in UNIT.read_text().splitlines():
        if line and not line.startswith(("#", "[")):
            name, _, value = line.partition("=")
            found.setdefault(name, []).append(value)
    return found


# ------------------------------------------------------------------------------------------------------------ systemd


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not here")
def test_systemd_knows_every_option(tmp_path: Path) -> None:
    unit = tmp_path / "auditlake.service"
    unit.write_text(UNIT.read_text().replace("/opt/auditlake/bin/auditlake", "/bin/true"))
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", str(unit)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    unit.write_text(unit.read_text() + "\n[Service]\nProtectEverything=yes\n")
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", str(unit)], capture_output=True, text=True, check=False)
    assert "ProtectEverything" in done.stderr


def test_the_unit_is_hardened() -> None:
    found = options()
    wanted = {"NoNewPrivileges": "yes", "ProtectSystem": "strict", "PrivateTmp": "yes", "ProtectHome": "yes", "PrivateDevices": "yes"}
    assert {name: found[name] for name in wanted} == {name: [value] for name, value in wanted.items()}
    assert found["CapabilityBoundingSet"] == found["AmbientCapabilities"] == [""]
    assert found["SystemCallFilter"] == ["@system-service", "~@privileged"]
    assert found["User"] == ["auditlake"]
    assert "MemoryMax" in found


def test_the_unit_runs_a_command_that_parses_in_the_one_place_it_may_write() -> None:
    (line,) = options()["ExecStart"]
    program, *arguments = line.split()
    assert program.endswith("/bin/auditlake")
    with cli.make_context("auditlake", arguments) as context:
        assert options()["ReadWritePaths"] == [str(context.params["data_dir"])]
        assert [*context._protected_args, *context.args] == ["serve"]
    assert options()["ExecReload"] == ["/bin/kill -HUP $MAINPID"]


def test_both_wait_longer_for_the_end_than_it_takes() -> None:
    assert float(options()["TimeoutStopSec"][0]) > serve._STOP_SECONDS
    assert "STOPSIGNAL SIGTERM\n" in IMAGE.read_text()


# ---------------------------------------------------------------------------------------------------------- container


def copied() -> list[str]:
    """What comes from the tree."""
    lines = re.findall(r"(?m)^COPY (?!--from)(.*) \S+$", IMAGE.read_text())
    return [word for line in lines for word in line.split()]


def test_everything_that_is_copied_is_there_and_every_room_is_copied() -> None:
    assert [name for name in copied() if not (ROOT / name).exists()] == []
    packages = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    assert {name.partition(".")[0] for name in packages} <= set(copied())


def test_nothing_else_goes_to_the_builder() -> None:
    first, *rest = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    kept = {line.removeprefix("!") for line in rest if line.startswith("!")}
    assert first == "*"
    assert kept == {name.partition("/")[0] for name in copied()}


def test_the_image_is_of_locked_packages_for_nobody_in_particular() -> None:
    text = IMAGE.read_text()
    stages = re.findall(r"(?m)^FROM (\S+)", text)
    assert len(stages) == 2
    assert all(re.fullmatch(r"python:3\.1[1-9]-slim-\w+", stage) for stage in stages)
    installs = re.findall(r"pip install (.*)", text)
    assert all("--require-hashes" in line or line.startswith("--no-deps /opt/build/wheels") for line in installs)
    user = re.findall(r"(?m)^USER (\d+):(\d+)$", text)
    assert [int(part) > 0 for part in user[-1]] == [True, True]
    assert text.index("USER 10001") < text.index("ENTRYPOINT")


def test_the_project_is_built_by_what_is_locked() -> None:
    lines = (ROOT / "requirements" / "dev.txt").read_text()
    found = re.search(r"(?ms)^(setuptools==.*?[^\\])$", lines)
    assert found
    assert re.fullmatch(r"setuptools==\S+( \\\n +--hash=sha256:[0-9a-f]{64})+", found[1])


def test_the_container_listens_where_it_says() -> None:
    text = IMAGE.read_text()
    variables = dict(re.findall(r"(AUDITLAKE_\w+)=(\S+)", text))
    settings = load(ROOT / "config.toml", variables)
    ports = [place.rpartition(":")[2] for place in (settings.serve.http, settings.serve.quack)]
    assert f"EXPOSE {' '.join(ports)}\n" in text
    assert f"VOLUME {variables['AUDITLAKE_DATA_DIR']}\n" in text
    assert [place.rpartition(":")[2] for place in (Settings().serve.http, Settings().serve.quack)] == ports
    assert f"http://127.0.0.1:{ports[0]}/readyz" in text
    assert '"/readyz"' in (ROOT / "auditlake" / "web" / "app.py").read_text()
    (command,) = re.findall(r'(?m)^CMD \["(\w+)"\]$', text)
    assert isinstance(cli.commands[command], click.Command)


# ------------------------------------------------------------------------------------------------- figures and labels


def check(expression: str) -> None:
    """Every figure in an expression is told, and has the labels that it is asked for by."""
    names = re.findall(r"\bauditlake_\w+", expression)
    assert names, expression
    assert set(names) <= set(FIGURES), expression
    known = WORDS | {label for name in names for label in FIGURES[name].labels}
    asked = {label for labels in re.findall(r"\b(?:by|on|without|ignoring) \(([^)]*)\)", expression) for label in labels.split(", ")}
    asked |= {label for braces in re.findall(r"\{([^}]*)\}", expression) for label in re.findall(r"(\w+) ?[=!]", braces)}
    assert asked <= known, expression


@pytest.mark.parametrize("expression", ["up", "auditlake_nothing", 'auditlake_rows{source="x"}', "sum by (format) (auditlake_rows)"])
def test_the_check_finds(expression: str) -> None:
    with pytest.raises(AssertionError):
        check(expression)


def panels() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(BOARD.read_text())["panels"]
    return found


@pytest.mark.parametrize("panel", panels(), ids=lambda panel: panel["title"])
def test_a_panel_shows_what_is_told(panel: dict[str, Any]) -> None:
    assert panel["targets"]
    for target in panel["targets"]:
        check(target["expr"])
        named = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
        assert named <= {label for name in re.findall(r"auditlake_\w+", target["expr"]) for label in FIGURES[name].labels}


def test_the_panels_are_beside_each_other() -> None:
    places = [panel["gridPos"] for panel in panels()]
    cells = [(x, y) for at in places for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) == 23
    assert len({panel["id"] for panel in panels()}) == len(places)


def rules() -> list[str]:
    """The text of each rule."""
    return ALERTS.read_text().split("      - alert: ")[1:]


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule.split("\n", 1)[0])
def test_an_alert_is_of_what_is_told(rule: str) -> None:
    folded = re.sub(r"expr: >-\n((?: {10}.*\n)+)", lambda match: "expr: " + " ".join(match[1].split()) + "\n", rule)
    (expression,) = re.findall(r"(?m)^ {8}expr: (.*)$", folded)
    check(expression)
    known = WORDS | {label for name in re.findall(r"auditlake_\w+", expression) for label in FIGURES[name].labels}
    assert set(re.findall(r"\$labels\.(\w+)", rule)) <= known
    assert re.findall(r"(?m)^ {8}labels: \{severity: (\w+)\}$", rule)[0] in ("warning", "critical")
    assert re.search(r"(?m)^ {10}summary: \S", rule)


def test_what_must_wake_somebody_does() -> None:
    text = ALERTS.read_text()
    names = re.findall(r"(?m)^ {6}- alert: (\w+)$", text)
    assert len(names) == len(set(names)) == len(rules())
    wanted = {"overdue_days", "residue_things", "job_failures", "job_missed", "source_trouble", "source_lag_seconds", "ready"}
    assert {f"auditlake_{name}" for name in wanted} <= set(re.findall(r"auditlake_\w+", text))


def test_the_page_lists_every_figure() -> None:
    table = re.findall(r"(?m)^\| `(auditlake_\w+)` \| (\w+) \| (.*?) \| (.*) \|$", (ROOT / "docs" / "operations.md").read_text())
    told = [
        (name, "counter" if figure.grows else "gauge", ", ".join(f"`{label}`" for label in figure.labels) or "none", figure.text)
        for name, figure in FIGURES.items()
    ]
    assert table == told

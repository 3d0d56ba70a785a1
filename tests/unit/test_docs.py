"""The documents say what the code does: commands, settings, columns, events, links."""

import datetime as dt
import json
import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from auditlake.cli import cli
from auditlake.intake import format_options
from auditlake.serve_settings import SourceSettings
from auditlake.settings import Settings, load
from core import errors
from core.events import Kind
from ingest import batches, formats
from ingest.formats.base import Wrapper
from ingest.formats.custom import KINDS
from ingest.formats.registry import wrappers
from jobs.batch import FUTURE
from jobs.runner import JOBS
from tests.unit.ingest.test_formats_registry import lines_of
from tools import columns
from tools import formats as formats_page

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
PAGES = [README, ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
ADRS = sorted((ROOT / "docs" / "adr").glob("*.md"))
_FENCE = re.compile(r"(?ms)^```(\w*)\n(.*?)^```$")


def _page(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def _blocks(page: Path, *languages: str) -> list[str]:
    return [body for language, body in _FENCE.findall(_page(page)) if language in languages]


def _leaves(command: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    if isinstance(command, click.Group):
        for name, sub in command.commands.items():
            yield from _leaves(sub, (*path, name))
    else:
        yield path


def _command_lines(page: Path) -> list[list[str]]:
    """Arguments of every ``auditlake …`` in the page's shell blocks, up to a pipe or redirection."""
    found = []
    for line in "".join(_blocks(page, "sh", "cron")).splitlines():
        words = shlex.split(line, comments=True)
        if "auditlake" in words:
            arguments = words[words.index("auditlake") + 1 :]
            ends = [number for number, word in enumerate(arguments) if word in ("|", ">", ">>", ";", "&&")]
            found.append(arguments[: ends[0]] if ends else arguments)
    return found


def _parse(command: click.Command, arguments: list[str], parent: click.Context | None = None) -> None:
    """Parse a command line without running it.

    :raises click.UsageError: it has no such command, option, choice or number of arguments.
    """
    with command.make_context(command.name, list(arguments), parent=parent) as context:
        words = [*context._protected_args, *context.args]
        if isinstance(command, click.Group) and (words or not command.invoke_without_command):
            _, sub, rest = command.resolve_command(context, words)
            assert sub is not None
            _parse(sub, rest, context)


# ---------------------------------------------------------------------------------------------------------- commands


@pytest.mark.parametrize("path", list(_leaves(cli)), ids=" ".join)
def test_every_command_is_documented(path: tuple[str, ...]) -> None:
    words = re.compile(rf"auditlake (--[\w-]+ \S+ )*{re.escape(' '.join(path))}\b")
    assert any(words.search(_page(page)) for page in PAGES)


SHOWN = [(page.name, line) for page in PAGES for line in _command_lines(page)]


def test_there_are_command_lines_to_check() -> None:
    assert len([line for page, line in SHOWN if page == "README.md"]) > 20


@pytest.mark.parametrize(("page", "arguments"), SHOWN, ids=[f"{page}: {' '.join(line)[:60]}" for page, line in SHOWN])
def test_a_command_line_shown_is_one_that_parses(page: str, arguments: list[str]) -> None:
    del page
    _parse(cli, arguments)


@pytest.mark.parametrize("line", ["nonsense", "run nonsense", "ingest", "status --nonsense", "clock nonsense"])
def test_a_command_line_that_does_not_exist_is_found(line: str) -> None:
    with pytest.raises(click.UsageError):
        _parse(cli, line.split())


def test_commands_named_in_the_text_exist() -> None:
    missing = []
    for page in PAGES:
        for text in re.findall(r"`auditlake ([^`]+)`", _FENCE.sub("", _page(page))):
            command: click.Command = cli
            options = {name for parameter in cli.params for name in parameter.opts}
            for word in text.split():
                if isinstance(command, click.Group) and word in command.commands:
                    command = command.commands[word]
                    options |= {name for parameter in command.params for name in parameter.opts}
                elif word.startswith("-") and word not in options:
                    missing.append((page.name, text, word))
            if command is cli:
                missing.append((page.name, text, "no command"))
    assert missing == []


def test_the_readme_gives_every_exit_code() -> None:
    codes = {value for name, value in vars(errors).items() if name.startswith("EXIT_")}
    assert codes <= {int(code) for code in re.findall(r"(?m)^\| (\d+) \|", _page(README))}


# ---------------------------------------------------------------------------------------------------------- settings


def test_config_toml_holds_every_setting_with_its_default() -> None:
    page = _page(ROOT / "config.toml")
    assert {"sources": [], **tomllib.loads(page)} == Settings().model_dump()  # each source is a section of its own, so none is there
    assert [key for key in SourceSettings.model_fields if not re.search(rf"(?m)^# {key} = ", page)] == []


def test_config_toml_is_accepted() -> None:
    assert load(ROOT / "config.toml", {}) == Settings()


def test_every_setting_has_a_comment() -> None:
    lines = _page(ROOT / "config.toml").splitlines()
    keys = [number for number, line in enumerate(lines) if re.match(r"\w+ = ", line)]
    bare = [lines[number] for number in keys if "#" not in lines[number] and not lines[number - 1].startswith("#")]
    assert len(keys) > 20
    assert bare == []


@pytest.mark.parametrize("text", [block for page in PAGES for block in _blocks(page, "toml")])
def test_settings_shown_are_settings(text: str) -> None:
    Settings.model_validate(tomllib.loads(text))


def test_variables_shown_are_settings() -> None:
    shown = dict(re.findall(r'(?m)^export (AUDITLAKE_\w+)="?([^"\n]*)"?$', _page(README)))
    assert shown
    assert load(None, shown) != Settings()


def test_policies_shown_are_json() -> None:
    (policy,) = (json.loads(block) for block in _blocks(README, "json"))
    actions = {action for statement in policy["Statement"] for action in statement["Action"]}
    assert {"s3:ListBucketVersions", "s3:GetObject", "s3:PutObject", "s3:DeleteObjectVersion", "s3:AbortMultipartUpload"} <= actions


@pytest.mark.parametrize("job", JOBS)
def test_the_cron_lines_are_the_default_schedule(job: str) -> None:
    (line,) = (line for line in "".join(_blocks(README, "cron")).splitlines() if line.endswith(f" run {job}"))
    assert " ".join(line.split()[:5]) == getattr(Settings().jobs, job).schedule


# ---------------------------------------------------------------------------------------------- columns, events, words


def test_columns_md_is_current() -> None:
    assert _page(ROOT / "docs" / "columns.md") == columns.document(), "run: python -m tools.columns > docs/columns.md"


def test_every_kind_of_event_is_in_the_table() -> None:
    kinds = {value for name, value in vars(Kind).items() if not name.startswith("_")}
    table = _page(ROOT / "docs" / "architecture.md").partition("## The ledger")[2].partition("\n## ")[0]
    assert set(re.findall(r"(?m)^\| `(\w+)` \|", table)) == kinds


@pytest.mark.parametrize("word", [batches.EMPTY, batches.NUL, batches.CONTINUES, FUTURE])
def test_reasons_are_documented(word: str) -> None:
    assert f"*{word}*" in _page(ROOT / "docs" / "ingest.md")


# ----------------------------------------------------------------------------------------------------------- formats

FORMATS = ROOT / "docs" / "formats.md"


def test_formats_md_is_current() -> None:
    assert _page(FORMATS) == formats_page.document(), "run: python -m tools.formats > docs/formats.md"


@pytest.mark.parametrize("name", formats.names())
def test_formats_are_documented(name: str) -> None:
    form, page = formats.get(name), _page(FORMATS)
    assert re.findall(rf"(?m)^\| \[`{name}`\]\(#{name}\) \| .*\({re.escape(form.source)}\) \|$", page)
    section = page.partition(f"\n### {name}\n")[2].partition("\n## ")[0].partition("\n### ")[0]
    assert f"```text\n{form.sample}\n```" in section
    assert "| `event_time` | `2000-10-10T20:55:36Z` |" in section
    assert "| `source_address` | `127.0.0.1` |" in section


@pytest.mark.parametrize("wrapper", wrappers(), ids=lambda wrapper: wrapper.name)
def test_wrappers_are_documented(wrapper: Wrapper) -> None:
    page = _page(FORMATS)
    assert f"| [`{wrapper.name}+…`](#{wrapper.name}) |" in page
    section = page.partition("\n## Wrappers\n")[2].partition(f"\n### {wrapper.name}\n")[2].partition("\n##")[0]
    assert f"| labels: `{wrapper.name}." in section


OWN = re.findall(r"(?ms)^```toml\n(.*?)^```\n\n```text\n(.*?)\n```$", _page(FORMATS))


def test_there_is_an_example_of_each_kind_of_own_format() -> None:
    (kinds,) = zip(*((*(set(KINDS) & set(spec)),) for text, _ in OWN for spec in tomllib.loads(text)["formats"].values()), strict=True)
    assert sorted(kinds) == sorted(KINDS)


@pytest.mark.parametrize(("text", "line"), OWN, ids=[re.findall(r"formats\.(\w+)", text)[0] for text, _ in OWN])
def test_an_own_format_shown_compiles_and_reads_its_line(text: str, line: str) -> None:
    settings = Settings.model_validate(tomllib.loads(text))
    options = format_options(settings)
    (name,) = settings.formats
    row = formats.parse(formats.get(name, options), lines_of(line)).rows.to_pylist()[0]
    assert row["event_time"] == dt.datetime(2000, 10, 10, 20, 55, 36, tzinfo=dt.UTC)
    assert row["http_response_status_code"] == 200
    assert "/apache_pb.gif" in (row.get("url_original"), row.get("url_path"))


# ------------------------------------------------------------------------------------------------------------- pages


def _slug(heading: str) -> str:
    """The anchor that GitHub gives a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_relative_links_lead_somewhere(page: Path) -> None:
    broken = []
    for link in re.findall(r"\]\(([^)\s]+)\)", _FENCE.sub("", _page(page))):
        if re.match(r"https?://", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in map(_slug, re.findall(r"(?m)^#+ (.*)$", _page(target)))):
            broken.append(link)
    assert broken == []


def test_decisions_are_numbered_in_a_row() -> None:
    assert [int(path.name[:4]) for path in ADRS] == list(range(1, len(ADRS) + 1))


@pytest.mark.parametrize("page", ADRS, ids=lambda page: page.name)
def test_a_decision_says_why_what_and_what_else(page: Path) -> None:
    text = _page(page)
    assert re.match(rf"# {int(page.name[:4])}\. ", text)
    assert re.findall(r"(?m)^## (.*)$", text) == ["Context", "Decision", "Consequences", "Alternatives"]

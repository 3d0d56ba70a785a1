"""``auditlake record``, and the settings it is made of."""

from pathlib import Path

import pytest

from auditlake.privacy_settings import PrivacySettings
from auditlake.settings import Settings
from tests.commandline import invoke

CONFIG = """
[privacy]
controller = "Example GmbH, Musterweg 1"
purposes = ["finding faults", "finding abuse"]

[streams.requests]
keep = "7 years"
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "config.toml"
    path.write_text(CONFIG)
    return path


def test_the_record_is_json_a_page_or_a_file(config: Path, tmp_path: Path) -> None:
    found = invoke("--config", config, "record", "--json").expect(0).json
    assert found["record"]["purposes"] == ["finding faults", "finding abuse"]
    assert found["unset"] == ["contact", "officer", "legal_basis", "recipients", "transfers"]
    shown = invoke("--config", config, "record").expect(0)
    assert b"- Example GmbH, Musterweg 1\n" in shown.out
    assert "not stated: contact, officer" in shown.said
    assert "destroyed after 7 years" in found["record"]["retention"][0]
    for name, begins in (("r.html", "<!doctype html>"), ("r.md", "# Record of processing")):
        assert invoke("--config", config, "record", "--json", "-o", tmp_path / name).expect(0).json["output"] == str(tmp_path / name)
        assert (tmp_path / name).read_text().startswith(begins)
    assert "neither in .html nor in .md" in invoke("--config", config, "record", "-o", tmp_path / "r.pdf").expect(2).said
    assert not (tmp_path / "r.pdf").exists()
    invoke("--config", config, "record", "-o", tmp_path / "none" / "r.md").expect(1)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("controller = 3", "privacy.controller"),
        ("purposes = 'one'", "privacy.purposes"),
        ("purposes = ['']", "privacy.purposes: one of the texts is empty"),
        ('contact = "\\u001b[2J"', "privacy.contact: the text holds control characters"),
        (f"contact = '{'x' * 4001}'", "privacy.contact: the text is longer than 4000 characters"),
        ("retention = 'long'", "unknown key privacy.retention"),
    ],
)
def test_what_is_no_text_is_refused(config: Path, text: str, why: str) -> None:
    config.write_text(f"[privacy]\n{text}\n")
    assert why in invoke("--config", config, "record").expect(2).said


def test_a_text_that_is_not_stated_names_its_key() -> None:
    privacy = Settings().privacy
    assert privacy.texts("purposes") == ["not stated: set [privacy] purposes"]
    assert privacy.texts("rights")[0] == "access to the data, and a copy of it (Art. 15)"
    assert PrivacySettings(contact=" ").unset() == Settings().privacy.unset()
    with pytest.raises(KeyError):
        privacy.texts("texts")

"""The record of processing activities: whole, honest about gaps, and harmless whatever the texts hold."""

import datetime as dt
import re
from html.parser import HTMLParser

from auditlake.privacy_settings import PrivacySettings
from auditlake.settings import Settings
from compliance.record import Record, as_html, as_markdown, build

DAY = dt.date(2026, 11, 24)


def made(**privacy: object) -> Record:
    settings = Settings.model_validate({"privacy": privacy, "streams": {"requests": {}, "debug": {"hot": "7 days", "keep": "31 days"}}})
    texts = {key: settings.privacy.texts(key) for key in PrivacySettings.model_fields}
    policies = [policy for name, policy in settings.policies().items() if name == policy.name]
    return build(texts, settings.privacy.unset(), policies, DAY)


class Words(HTMLParser):
    """The tags and the text of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        assert {name for name, _ in attrs} <= {"lang", "charset", "class"}, "nothing is loaded"

    def handle_data(self, data: str) -> None:
        self.text += data


def test_every_item_of_the_article_has_its_heading() -> None:
    page = as_markdown(made())
    assert re.findall(r"(?m)^## .*\((\w)\)$", page) == ["a", "a", "b", "c", "c", "d", "e", "f", "g"]


def test_what_is_not_stated_is_told() -> None:
    record = made()
    assert record.unset == ["controller", "contact", "officer", "purposes", "legal_basis", "recipients", "transfers"]
    assert record.parts["controller"] == ["not stated: set [privacy] controller"]
    assert "**Not stated: controller, contact," in as_markdown(record)
    assert 'class="gap"' in as_html(record)


def test_a_record_that_is_whole_has_no_gaps() -> None:
    every = dict.fromkeys(("controller", "contact", "officer", "legal_basis", "transfers"), "none")
    record = made(**every, purposes=["finding faults"], recipients=["none"])
    assert record.unset == []
    assert "Not stated" not in as_markdown(record)
    assert 'class="gap"' not in as_html(record)


def test_the_limits_are_those_of_the_settings() -> None:
    rejected = "lines that could not be read are destroyed after 1 month"
    assert made().parts["retention"] == [
        f"stream requests: at hand for 1 month, then archived, destroyed after 1 year; {rejected}",
        f"stream debug: at hand for 7 days, then archived, destroyed after 31 days; {rejected}",
    ]
    assert "source_ip, source_port" in made().parts["columns"][0]


def test_texts_are_texts_and_no_markup() -> None:
    hostile = "<script>alert(1)</script> & [a](javascript:x) `b` | c\nd"
    words = Words()
    words.feed(as_html(made(controller=hostile)))
    assert "script" not in words.tags
    assert hostile in words.text
    page = as_markdown(made(controller=hostile))
    assert "- \\<script\\>alert(1)\\</script\\> & \\[a\\](javascript:x) \\`b\\` \\| c d\n" in page

"""What only the controller knows of the processing: texts for answers to data subjects and for the record of processing activities.

Which information each of them is, is said by the GDPR: Art. 13 to 15 for what a data subject is told, Art. 30 (1) for the record.
A text that is left empty is not invented: :meth:`PrivacySettings.texts` says that it is not stated, and by which key to state it.
"""

from typing import Annotated

from pydantic import AfterValidator, Field

from auditlake.setting_types import Section

__all__ = ["NOT_STATED", "PrivacySettings"]

NOT_STATED = "not stated"
"""How a text begins that nobody has given."""

_LONGEST = 4000


def _check_text(text: str) -> str:
    if len(text) > _LONGEST:
        raise ValueError(f"the text is longer than {_LONGEST} characters; write a shorter one")
    if any(not (character.isprintable() or character == "\n") for character in text):
        raise ValueError("the text holds control characters; remove them")
    return text.strip()


def _check_texts(texts: list[str]) -> list[str]:
    if not all(texts):
        raise ValueError("one of the texts is empty; remove it")
    return texts


Text = Annotated[str, AfterValidator(_check_text)]
Texts = Annotated[list[Text], AfterValidator(_check_texts)]

_CATEGORIES = [
    "addresses of clients, and their place and network as told from the address",
    "names of users and accounts, as the server knows them",
    "requests: time, method, URL, referrer, user agent, status, sizes and duration",
]
_PERSONS = ["persons who use the logged services"]
_RIGHTS = [
    "access to the data, and a copy of it (Art. 15)",
    "rectification (Art. 16)",
    "erasure (Art. 17)",
    "restriction of processing (Art. 18)",
    "receiving the data in a form that programs can read (Art. 20)",
    "objection to the processing (Art. 21)",
    "complaint to a supervisory authority (Art. 77)",
]
_SECURITY = [
    "recent days are files encrypted with AES-256, one key a day; a day is destroyed with its key",
    "the archive is reached with the credentials of the server alone, and encrypted at rest by the bucket where that is configured",
    "access by roles with tokens that end; personal columns are masked for analysts; every query is logged",
    "secrets in URLs are replaced before anything is stored",
    "an append-only ledger, bound by SHA-256, holds every change; every night all rows are counted against it",
]


class PrivacySettings(Section):
    """The controller's own texts; those that the product can know have defaults, the others are empty until they are stated."""

    controller: Text = ""
    contact: Text = ""
    officer: Text = ""
    purposes: Texts = Field(default_factory=list)
    legal_basis: Text = ""
    persons: Texts = Field(default_factory=lambda: list(_PERSONS))
    categories: Texts = Field(default_factory=lambda: list(_CATEGORIES))
    recipients: Texts = Field(default_factory=list)
    transfers: Text = ""
    rights: Texts = Field(default_factory=lambda: list(_RIGHTS))
    security: Texts = Field(default_factory=lambda: list(_SECURITY))

    def texts(self, key: str) -> list[str]:
        """The texts of a key, one that says so when there is none.

        :raises KeyError: there is no such key.
        """
        if key not in type(self).model_fields:
            raise KeyError(key)
        found: str | list[str] = getattr(self, key)
        texts = [found] if isinstance(found, str) else found
        return list(filter(None, texts)) or [f"{NOT_STATED}: set [privacy] {key}"]

    def unset(self) -> list[str]:
        """The keys that nobody has stated."""
        return [key for key in type(self).model_fields if not getattr(self, key)]

"""The regular expressions that find secrets in URLs and in text: RE2, so linear in the text whatever it holds.

A parameter is secret when one of the *words* of its name is on the list. Words end at anything but a letter (``x-api-key``,
``user[password]``, ``token2``), at a change of case (``accessToken``), and before a plural s; a name on the list of five
letters or more also counts at the end of a longer word (``sessiontoken``), and one of several words (``api_key``) matches
with any separator or none. Letters may be in either case and percent-encoded, once or many times over. The name may stand
anywhere: after ``?``, ``&``, ``;``, ``#`` or ``/``, in a URL inside a parameter, in JSON inside a parameter. The value reaches
to the next ``&``: a value may hold each of the other separators, so stopping there would leave a part of it behind.

An e-mail address needs a domain with a dot (or an IPv4 address), with its ``@`` plain or percent-encoded; the picture names
``logo@2x.png`` and package versions ``name@1.2.3`` are none. User and password are what stands before ``@`` in the authority
of a URL (RFC 3986, section 3.2.1), or at the very start of the text when a colon is in it.
"""

import re
from collections.abc import Sequence

__all__ = [
    "AT",
    "EMAIL",
    "REPLACEMENT",
    "USER",
    "USER_IN_JSON",
    "has_words",
    "hint_pattern",
    "member_pattern",
    "name_pattern",
    "parameter_pattern",
]

REPLACEMENT = "REDACTED"

_P = "%(?:25)*"
_LONG_NAME = 5

# ------------------------------------------------------------------------------------------------- user and password

_USER_PLAIN = r"""[^/?#\s"<>]+@"""
_USER_ENCODED = rf"""(?:[^/?#\s"<>%]|{_P}(?:[014-9A-Fa-f][0-9A-Fa-f]|2[0-24-9A-Ea-e]|3[0-9A-Ea-e]))+(?:@|{_P}40)"""
_USER_FIRST = rf"""(?:[^/?#\s"<>@:=&%]|{_P}(?:[013-9A-Fa-f][0-9A-Fa-f]|2[0-9A-Ea-e]))*:{_USER_PLAIN}"""
USER = rf"(//){_USER_PLAIN}|({_P}2[Ff]{_P}2[Ff]){_USER_ENCODED}|^{_USER_FIRST}"
"""Groups 1 and 2 are what to keep in front."""
USER_IN_JSON = rf"{USER}|\"{_USER_FIRST}|\\/\\/[^\"]+@"
"""The same in a JSON text, where a string begins with a quote and a slash may be escaped."""

AT = rf"@|{_P}40"
"""What no user and no e-mail address is without."""

# ------------------------------------------------------------------------------------------------------------ e-mail

_LOCAL_ENCODED = rf"{_P}(?:2[1457ABDEabde]|3[0-9]|4[1-9A-Fa-f]|5[0-9AEFaef]|6[0-9A-Fa-f]|7[0-9A-Ea-e]|[89A-Fa-f][0-9A-Fa-f])"
_LOCAL = rf"""(?:[^%\s/?#&;=@"<>(),:\\\[\]]|{_LOCAL_ENCODED})+"""
_WIDE = rf"[^\x00-\x7f]|{_P}[89A-Fa-f][0-9A-Fa-f]"
_LABEL = rf"(?:[A-Za-z0-9_\-]|{_WIDE})"
_FIRST = rf"(?:(?:[A-Za-z_]|{_WIDE}){_LABEL}*|[0-9](?:(?:[0-9A-WYZa-wyz_\-]|{_WIDE}){_LABEL}*|[Xx]{_LABEL}+)?)"
_DOT = rf"(?:\.|{_P}2[Ee])"
_DOMAIN = rf"(?:{_FIRST}(?:{_DOT}{_LABEL}+)*{_DOT}(?:[A-Za-z]|{_WIDE}){_LABEL}+|[0-9]{{1,3}}(?:{_DOT}[0-9]{{1,3}}){{3}})"
_RETINA = rf"[0-9][Xx](?:{_DOT}{_LABEL}+)*{_DOT}(?:com|net|org|io|co)"
EMAIL = rf"((?:{_P}[0-9A-Fa-f]{{2}})??){_LOCAL}(?:@|{_P}40)(?:{_DOMAIN}|{_RETINA})"
"""Group 1, a delimiter that is percent-encoded, is what to keep in front."""

# -------------------------------------------------------------------------------------------------------- parameters

_SEPARATOR = rf"(?:[-_. \[\]+]|{_P}(?:2[0BDEbde]|5[BDFbdf]))?"
_NAMELIKE = rf"(?:[A-Za-z0-9_.\-\[\]~$]|{_P}(?:2[4DEde]|3[0-9]|[46][1-9A-Fa-f]|5[0-9AaBbDdFf]|7[0-9AaEe]))"
_WORD_END = rf"(?:[A-Z0-9_.\-\[\]~$]|{_P}(?:2[4DEde]|3[0-9]|4[1-9A-Fa-f]|5[0-9AaBbDdFf]|7[Ee]))"
_QUOTE = rf"""(?:\\*["']|{_P}2[27])"""
_ASSIGN = rf"(?:=|{_P}3[Dd]|{_QUOTE}(?:[\s+]|{_P}20)*(?::|{_P}3[Aa]))"
_VALUE = r"""(?:\s*\\*"(?:[^"\\]|\\.)*"?[^&]*|[^&]+)"""


def hint_pattern(names: Sequence[str]) -> str:
    """Matches a text that may match one of the patterns below: one with a word of the list as it is, or a letter of one percent-encoded.

    It is a fraction of their size, and told as much sooner.
    """
    letters = {form for name in names for word in _words(name) for letter in word for form in (letter.lower(), letter.upper())}
    digits = {letter.encode().hex()[0] for letter in letters}
    return rf"{_core(names, encoded=False)}|{_P}[{''.join(sorted(digits | {digit.upper() for digit in digits}))}]"


def name_pattern(names: Sequence[str]) -> str:
    """Matches a name, such as a key of JSON, one of whose words is on the list."""
    return rf"{_core(names)}(?:$|[^a-z])"


def parameter_pattern(names: Sequence[str]) -> str:
    """Matches a parameter whose name is secret, with its value if it has one; group 1 is what to keep in front."""
    return rf"(?s)({_core(names)}(?:{_WORD_END}{_NAMELIKE}*)?{_ASSIGN}){_VALUE}"


def member_pattern(names: Sequence[str]) -> str:
    """Matches in a JSON text the end of a secret key that is a string's, with that string; group 1 is what to keep in front."""
    return rf'({_core(names)}(?:[^"\\a-z][^"\\]*)?"\s*:\s*)"(?:[^"\\]|\\.)*"'


def _core(names: Sequence[str], encoded: bool = True) -> str:
    """Matches from just before the word to its end."""
    short = [name for name in names if sum(map(len, _words(name))) < _LONG_NAME]
    long = [name for name in names if name not in short]
    ways = [_either(long, encoded=encoded)] if long else []
    if short:
        begun = rf"(?:^|[^A-Za-z]|%[0-9A-Fa-f]{{2}}){_either(short, encoded=encoded)}"
        ways += [begun, f"[a-z]{_either(short, capital=True, encoded=encoded)}"]
    return f"(?:{'|'.join(ways)})[sS]?"


def _either(names: Sequence[str], *, capital: bool = False, encoded: bool) -> str:
    return f"(?:{'|'.join(_spelled(name, capital, encoded) for name in names)})"


def _spelled(name: str, capital: bool, encoded: bool) -> str:
    """A name in either case, or with a capital in front; its words with or without a separator."""
    words = [[_character({letter.lower(), letter.upper()}, encoded) for letter in word] for word in _words(name)]
    if capital:
        words[0][0] = _character({_words(name)[0][0].upper()}, encoded)
    return _SEPARATOR.join("".join(word) for word in words)


def _character(forms: set[str], encoded: bool) -> str:
    """One character in these forms, each plain or also percent-encoded."""
    ways = ((form, _encoded(form)) if encoded else (form,) for form in sorted(forms))
    return f"(?:{'|'.join(way for each in ways for way in each)})"


def _encoded(form: str) -> str:
    hexadecimal = (f"[{digit}{digit.upper()}]" if digit.isalpha() else digit for digit in form.encode().hex())
    return "".join(f"{_P}{high}{low}" for high, low in zip(hexadecimal, hexadecimal, strict=True))


def has_words(name: str) -> bool:
    """Whether a name of the list has a letter or digit to look for."""
    return bool(_words(name))


def _words(name: str) -> list[str]:
    return [word for word in re.split(r"[\W_]+", name.lower()) if word]

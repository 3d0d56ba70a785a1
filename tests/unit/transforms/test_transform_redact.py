"""Secrets planted in every place they are known to hide, and the harmless text around them."""

import json
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from core.errors import UsageError
from transforms.pipeline import TransformOptions, build
from transforms.redact import DEFAULT_SECRET_NAMES, Redact

REDACT = Redact()
PIPELINE = build(TransformOptions(geo=False))
MARK = "Zx7planted7xZ"


def clean(text: str | None, redact: Redact = REDACT) -> Any:
    """The text as each of the three columns shows it, which must be the same."""
    columns = {name: pa.array([text], pa.string()) for name in ("url_path", "url_query", "http_request_referrer")}
    (row,) = redact.apply(pa.RecordBatch.from_pydict(columns)).to_pylist()
    (shown,) = set(row.values())
    return shown


def raw_labels(document: str) -> str:
    (row,) = REDACT.apply(pa.RecordBatch.from_pydict({"labels": pa.array([document], pa.string())})).to_pylist()
    return str(row["labels"])


def labels(document: str) -> Any:
    return json.loads(raw_labels(document))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("token=abc", "token=REDACTED"),
        ("a=1&PassWord=x;y/z?&b=2", "a=1&PassWord=REDACTED&b=2"),
        ("a=1;sid=abc", "a=1;sid=REDACTED"),
        ("user_password=x&x-api-key=y&api.key=z&APIKEY=q", "user_password=REDACTED&x-api-key=REDACTED&api.key=REDACTED&APIKEY=REDACTED"),
        ("accessToken=a&resetCode=b&key2=c&tokens=d", "accessToken=REDACTED&resetCode=REDACTED&key2=REDACTED&tokens=REDACTED"),
        ("user[password]=p&user%5Bpassword%5D=q&token[]=r", "user[password]=REDACTED&user%5Bpassword%5D=REDACTED&token[]=REDACTED"),
        ("PHPSESSID=a&jsessionid=b", "PHPSESSID=REDACTED&jsessionid=REDACTED"),
        ("%74oken=a&%2574oke%256E=b", "%74oken=REDACTED&%2574oke%256E=REDACTED"),
        ("next=%2Fcb%3Ftoken%3Dabc%26x%3D1&y=2", "next=%2Fcb%3Ftoken%3DREDACTED&y=2"),
        ('q={"password":"a&b"}&y=2', 'q={"password":REDACTED&y=2'),
        ("q=%7B%22password%22%3A%22x%22%7D&y=2", "q=%7B%22password%22%3AREDACTED&y=2"),
        ("/a;jsessionid=ABC/b", "/a;jsessionid=REDACTED"),
        ("https://h/cb#access_token=abc", "https://h/cb#access_token=REDACTED"),
        ("https://user:pa:ss@h.example/x", "https://REDACTED:@h.example/x"),
        ("https://user%40corp.example:pw@h/x", "https://REDACTED:@h/x"),
        ("https://user@h.example/x", "https://REDACTED:@h.example/x"),
        ("u=https%3A%2F%2Fuser%3Apw%40h.example%2Fx", "u=https%3A%2F%2FREDACTED:@h.example%2Fx"),
        ("user:pw@proxy", "REDACTED:@proxy"),
        ("/users/jo.doe+x@mail.example.com/edit", "/users/REDACTED/edit"),
        ("/users/jo%2Edoe%40example%2Ecom/edit", "/users/REDACTED/edit"),
        ("q=jo%2540example.com&r=1", "q=REDACTED&r=1"),
        ("https%3A%2F%2Fh%2Fjo%40example.com", "https%3A%2F%2Fh%2FREDACTED"),
        ("to=jörg@müller.example", "to=REDACTED"),
        ("to=jo@192.0.2.1", "to=REDACTED"),
        ("to=jo@2x.com", "to=REDACTED"),
    ],
)
def test_secrets_go(text: str, expected: str) -> None:
    assert clean(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "id=1&page=2&sort=key",
        "keyword=x&monkey=y&author=me&codec=h264&passenger=2&zipcode=5&spin=1&sidebar=2",
        "token=&password",
        "/token/abc/key",
        "/img/logo@2x.png",
        "/img/logo@3x.min.webp",
        "/npm/vue@2.6.11/dist/vue.js",
        "/@scope/package@1.0.0/index.js",
        "https://medium.example/@writer/post",
        "https://h.example:8443/a//b/c?time=12:30",
        "q=a%20b%25c%E2%82%AC&r=100%",
        "a@b",
    ],
)
def test_harmless_text_stays(text: str | None) -> None:
    assert clean(text) == text


def test_the_list_is_the_callers() -> None:
    own = Redact(("Kennwort", "contraseña", "x-id"))
    assert clean("kennwort=a&token=b&CONTRASE%C3%91A=c&contraseña=d&x_id=e&xid=f&id=g", own) == (
        "kennwort=REDACTED&token=b&CONTRASE%C3%91A=REDACTED&contraseña=REDACTED&x_id=REDACTED&xid=REDACTED&id=g"
    )


def test_an_empty_list_leaves_parameters_and_takes_the_rest() -> None:
    assert clean("token=abc&to=jo@example.com&u=//a:b@h", Redact(())) == "token=abc&to=REDACTED&u=//REDACTED:@h"


@pytest.mark.parametrize("names", [("",), ("token", "-_"), tuple(f"name{n:05}" for n in range(20_000))])
def test_a_list_that_cannot_be_meant_is_refused(names: tuple[str, ...]) -> None:
    with pytest.raises(UsageError):
        Redact(names)


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ({"Authorization": "Basic x", "n": 1.5}, {"Authorization": "REDACTED", "n": 1.5}),
        (
            {"a": {"password": {"x": [1]}, "b": [{"x-api-key": 5, "key": None}]}},
            {"a": {"password": "REDACTED", "b": [{"x-api-key": "REDACTED", "key": None}]}},
        ),
        ({"request": "GET /x?token=abc HTTP/1.1", "ü": "ü"}, {"request": "GET /x?token=REDACTED", "ü": "ü"}),
        ({"body": '{"password":"a&b"}'}, {"body": '{"password":REDACTED'}),
        ({"to": "jo@example.com", "jo@example.com": 1}, {"to": "REDACTED", "REDACTED": 1}),
        ({"proxy": "user:pw@h"}, {"proxy": "REDACTED:@h"}),
        ({"keyword": "x", "n": None}, {"keyword": "x", "n": None}),
    ],
)
def test_labels(document: dict[str, Any], expected: dict[str, Any]) -> None:
    for ascii_only in (True, False):
        assert labels(json.dumps(document, ensure_ascii=ascii_only)) == expected


def test_labels_of_odd_json() -> None:
    assert labels('{"\\u0074oken":"abc"}') == {"token": "REDACTED"}
    assert labels('{"u":"https:\\/\\/user:pw@h\\/"}') == {"u": "https://REDACTED:@h/"}
    assert labels('{"u":"/x?a=1\\u0026key=abc"}') == {"u": "/x?a=1&key=REDACTED"}
    assert labels('{"big":1e999,"token":5}') == {"big": "1e999", "token": "REDACTED"}
    assert labels('{"half":"\\ud800","token":"abc"}') == {"half": "�", "token": "REDACTED"}
    assert labels('["jo@example.com",{"pin":1}]') == ["REDACTED", {"pin": "REDACTED"}]
    assert labels("no JSON, token=abc") == {"unparsed": "no JSON, token=REDACTED"}
    assert labels('{"token":"x","token":"abc"}') == {"token": "REDACTED"}
    assert "abc" not in labels('{"token":1,"token":["abc"]}')["unparsed"]
    assert "abc" not in raw_labels('{"token":"abc","d":' + "[" * 100_000)
    assert "abc" not in raw_labels('{"token":["abc"],"d":' + "[" * 100_000)


@pytest.mark.parametrize(
    "name",
    ["status_code", "http.response.statusCode", "errorCode", "error_code", "target_status_code_list", "result_code", "signature_version"],
)
def test_a_status_is_no_secret(name: str) -> None:
    assert labels(json.dumps({name: "200"})) == {name: "200"}
    assert labels(json.dumps({name: "200", "code": "abc"})) == {name: "200", "code": "REDACTED"}
    assert labels(json.dumps({name: "a key=abc"})) == {name: "a key=REDACTED"}


_NAMES = st.sampled_from(
    ["token", "myToken", "x-api-key", "status_code", "errorCode", "path", "token_x", "tokenizer", "keys", 'a"key', "q"]
)
_VALUES = st.sampled_from(["abc", "", 'a"b', "a\\", 'x","token":"y', "/p?token=abc", "jo@example.com", "é", None, 5])


@given(document=st.dictionaries(_NAMES, st.one_of(_VALUES, st.dictionaries(_NAMES, _VALUES, max_size=3), st.lists(_VALUES, max_size=2))))
def test_labels_changed_in_place_are_as_if_taken_apart(document: dict[str, Any]) -> None:
    text = json.dumps(document, ensure_ascii=False)
    (taken_apart,) = REDACT._documents([text])
    assert labels(text) == json.loads(taken_apart)


def test_labels_without_secrets_keep_their_bytes() -> None:
    document = '{ "upstream" : "10.0.0.1:80", "t":1.10, "u":"/x?a=1\\u0026b=2" }'
    batch = pa.RecordBatch.from_pydict({"labels": pa.array([document, None])})
    assert REDACT.apply(batch)["labels"].to_pylist() == [document, None]


def _spelling(name: str) -> st.SearchStrategy[str]:
    """A name with each letter in some case, plain or percent-encoded once or twice."""

    def letter(character: str) -> st.SearchStrategy[str]:
        forms = {character.lower(), character.upper()}
        encoded = {f"%{ord(form):02X}" for form in forms if form.isalnum()} | {f"%25{ord(form):02x}" for form in forms if form.isalnum()}
        return st.sampled_from(sorted(forms | encoded))

    return st.tuples(*map(letter, name)).map("".join)


spellings = st.sampled_from(DEFAULT_SECRET_NAMES).flatmap(_spelling)
around = st.text(st.characters(codec="utf-8", exclude_characters="&?"), max_size=12)
names = st.tuples(
    st.sampled_from(["", "user_", "x-", "a.b.", "my[", "new%5B", "2"]), spellings, st.sampled_from(["", "]", "_2", "%5D", "[0]"])
).map("".join)
PLACES = (
    ("url_original", "/x?{name}={value}"),
    ("url_original", "/x?a=1&{name}={value}&b=2"),
    ("url_original", "/x?a=1;{name}={value}"),
    ("url_original", "/x;{name}={value}"),
    ("url_original", "http://h.example/x?{name}={value}#end"),
    ("url_original", "ftp://h:port/x?{name}={value}"),
    ("url_original", "/x?next=%2Fy%3F{name}%3D{value}"),
    ("http_request_referrer", "https://h.example/?a=b&{name}={value}"),
    ("http_request_referrer", "https://h.example/#{name}={value}"),
    ("labels", "{name}={value}"),
)


@given(st.sampled_from(PLACES), names, around, around)
@example(PLACES[0], "token", '"', '"')
def test_no_value_of_a_secret_parameter_is_left(place: tuple[str, str], name: str, before: str, after: str) -> None:
    column, template = place
    text = template.format(name=name, value=before + MARK + after)
    values = [json.dumps({"request": text, name: before + MARK}, ensure_ascii=False) if column == "labels" else text, None]
    result = PIPELINE.apply(pa.RecordBatch.from_pydict({column: pa.array(values, pa.string())}))
    assert MARK not in json.dumps(result.to_pylist(), default=str, ensure_ascii=False)
    assert "REDACTED" in json.dumps(result.to_pylist(), default=str)


local_parts = st.text("abcXYZ019._+-'", min_size=1, max_size=9)
domains = st.from_regex(r"[a-z]([a-z0-9-]{0,5}[a-z0-9])?(\.[a-z0-9]{1,5}){0,2}\.(de|com|museum)", fullmatch=True)
EMAIL_PLACES = ("/x/{}", "/x/{}/y?z=1", "/x?to={}&a=b", "/x?a=(<{}>)", "/x?next=%2Fy%3Fto%3D{}%26z", "http://h.example/{}", "{}")


@given(st.sampled_from(EMAIL_PLACES), local_parts, domains, st.sampled_from(["@", "%40", "%2540"]), st.sampled_from([".", "%2E", "%2e"]))
def test_no_email_address_is_left(place: str, local: str, domain: str, at: str, dot: str) -> None:
    text = place.format(MARK + local + at + domain.replace(".", dot))
    columns = {"url_original": [text], "http_request_referrer": [text], "labels": [json.dumps({"a": text})]}
    result = json.dumps(PIPELINE.apply(pa.RecordBatch.from_pydict(columns)).to_pylist(), default=str)
    assert MARK not in result
    assert (MARK + local) not in result
    assert result.count("REDACTED") >= 3


users = st.text(
    st.characters(min_codepoint=33, max_codepoint=0x2FF, exclude_characters='/?#@"<>\\', exclude_categories=["Z", "C"]), max_size=10
)


@given(
    users, users, st.sampled_from(["http://{}@h.example/x", "//{}@h:1/x?y", "https://{}@[::1]/", "ftp://{}@h:bad/", "/x?u=http://{}@h/y"])
)
def test_no_user_and_password_of_a_url_is_left(user: str, password: str, place: str) -> None:
    text = place.format(f"{user}:{MARK}{password}")
    columns = {"url_original": [text], "http_request_referrer": [text], "labels": [json.dumps({"a": text})]}
    result = PIPELINE.apply(pa.RecordBatch.from_pydict(columns))
    assert MARK not in json.dumps(result.to_pylist(), default=str)


@given(st.lists(st.one_of(st.none(), st.text(), st.text("%25240@=&;:/?#\"'{}[]\\tokenTOKEN.", max_size=60)), max_size=6))
def test_total_and_rows_in_order(texts: list[str | None]) -> None:
    marked = [None if text is None else f"{number}~{text}" for number, text in enumerate(texts)]
    columns = {name: pa.array(marked, pa.string()) for name in ("url_path", "url_query", "http_request_referrer", "labels")}
    result = REDACT.apply(pa.RecordBatch.from_pydict(columns))
    result.validate(full=True)
    for name in ("url_path", "url_query", "http_request_referrer"):
        for number, (before, after) in enumerate(zip(marked, result[name].to_pylist(), strict=True)):
            assert (before is None) == (after is None)
            assert after is None or after.startswith((f"{number}~", "REDACTED"))


@pytest.mark.parametrize("unit", ["a=b&", "@", "%", "x@", "token", "//", "%25", '"', "a:", "token=", "%2F", "x@a."])
def test_a_megabyte_of_anything_is_read_in_linear_time(unit: str) -> None:
    text = unit * (1_000_000 // len(unit)) + "?token=" + MARK
    assert MARK not in clean(text)


def encoded(word: str, places: set[int], times: int) -> str:
    """The word with the letters at these places percent-encoded, once or more."""
    return "".join(f"%{'25' * times}{ord(sign):02x}" if place in places else sign for place, sign in enumerate(word))


@given(st.sampled_from(DEFAULT_SECRET_NAMES), st.sets(st.integers(0, 12)), st.integers(0, 2), st.booleans())
def test_a_word_is_found_whichever_of_its_letters_are_encoded(name: str, places: set[int], times: int, capitals: bool) -> None:
    word = encoded(name.upper() if capitals else name, places - {name.find("_")}, times)
    assert clean(f"a=1&{word}={MARK}&b=2") == f"a=1&{word}=REDACTED&b=2"
    assert MARK not in raw_labels(json.dumps({"status_code": "200", word: MARK}))


def test_what_was_found_in_one_batch_is_found_in_the_next() -> None:
    redact = Redact()
    for number in (0, 0, 1, 6000):
        texts = [f"token={n}" for n in range(number)] + [f"token={MARK}", "pin=1", "a=1", None]
        batch = redact.apply(pa.RecordBatch.from_pydict({"url_query": pa.array(texts, pa.string())}))
        assert batch["url_query"].to_pylist() == ["token=REDACTED"] * (number + 1) + ["pin=REDACTED", "a=1", None]


def test_of_columns_that_share_a_batch_each_keeps_its_own() -> None:
    columns = {"url_path": ["/a", "/b"], "url_query": ["token=1", None], "http_request_referrer": ["http://u:p@h/", "x=1"]}
    batch = pa.RecordBatch.from_pydict({name: pa.array(texts, pa.string()) for name, texts in columns.items()})
    wanted = {"url_path": ["/a", "/b"], "url_query": ["token=REDACTED", None], "http_request_referrer": ["http://REDACTED:@h/", "x=1"]}
    assert Redact().apply(batch).to_pydict() == wanted


def test_documents_of_which_few_have_other_keys_than_the_rest() -> None:
    usual, odd = json.dumps({"status_code": "200"}), json.dumps({"status_code": "200", "x_code": MARK})
    texts = [usual, odd, usual, odd, None, usual]
    batch = REDACT.apply(pa.RecordBatch.from_pydict({"labels": pa.array(texts, pa.string())}))
    shown = batch["labels"].to_pylist()
    assert (shown[0], shown[4]) == (usual, None)
    assert [json.loads(text)["x_code"] for text in (shown[1], shown[3])] == ["REDACTED"] * 2


def test_labels_without_a_list_of_names() -> None:
    document = json.dumps({"token": "kept", "from": "someone@example.com"})
    batch = Redact([]).apply(pa.RecordBatch.from_pydict({"labels": pa.array([document], pa.string())}))
    assert json.loads(batch["labels"][0].as_py()) == {"token": "kept", "from": "REDACTED"}

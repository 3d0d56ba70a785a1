"""GeoIP databases are renewed from where the settings say, over TLS or from a file, and nothing that is no database takes their place."""

import datetime as dt
import gzip
import http.server
import shutil
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from auditlake import lake as lakes
from auditlake.lake import open_lake
from auditlake.settings import GeoSettings, Settings
from core.clock import UTC
from jobs import geoip, runner
from jobs.context import Outcome
from transforms.mmdb import Database

DATA = Path(__file__).resolve().parents[2] / "data" / "geoip" / "test-data"
CITY, COUNTRY, ASN = DATA / "GeoLite2-City-Test.mmdb", DATA / "GeoLite2-Country-Test.mmdb", DATA / "GeoLite2-ASN-Test.mmdb"


@dataclass
class Site:
    """What the server has: bodies, and places that it redirects to; and what was asked."""

    url: str = ""
    bodies: dict[str, bytes] = field(default_factory=dict)
    redirects: dict[str, str] = field(default_factory=dict)
    asked: list[tuple[str, str | None]] = field(default_factory=list)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate of 127.0.0.1 that it has signed itself, with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(dt.datetime(2000, 1, 1, tzinfo=UTC))
        .not_valid_after(dt.datetime(2100, 1, 1, tzinfo=UTC))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    form = (serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path.write_bytes(made.public_bytes(serialization.Encoding.PEM) + key.private_bytes(serialization.Encoding.PEM, *form))
    return path


@pytest.fixture
def site(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """A server with TLS that the program trusts."""
    found = Site()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            since = self.headers["If-Modified-Since"]
            found.asked.append((self.path, since))
            if self.path in found.redirects:
                self.send_response(302)
                self.send_header("Location", found.redirects[self.path])
                self.end_headers()
                return
            body = found.bodies.get(self.path)
            self.send_response(404 if body is None else 304 if since == "Wed, 20 May 2015 00:00:00 GMT" else 200)
            self.send_header("Last-Modified", "Wed, 20 May 2015 00:00:00 GMT")
            self.end_headers()
            if body is not None and since != "Wed, 20 May 2015 00:00:00 GMT":
                self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        found.url = f"https://127.0.0.1:{server.server_address[1]}"
        yield found
        server.shutdown()
        thread.join()


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A database of cities that is there already."""
    path = tmp_path / "geo" / "city.mmdb"
    path.parent.mkdir()
    shutil.copy(COUNTRY, path)
    return path


def update(place: Path, url: str) -> Outcome:
    settings = Settings(geo=GeoSettings(city=str(place), city_url=url))
    data = place.parents[1] / "data"
    lakes.create(data, settings, dt.datetime(2015, 5, 20, tzinfo=UTC))
    with open_lake(data, settings) as lake:
        return runner.run(lake.context, "geoip")


def untouched(place: Path) -> bool:
    return place.read_bytes() == COUNTRY.read_bytes() and list(place.parent.iterdir()) == [place]


def test_nothing_is_due_without_a_place_to_come_from(tmp_path: Path) -> None:
    lakes.create(tmp_path / "data", Settings(), dt.datetime(2015, 5, 20, tzinfo=UTC))
    with open_lake(tmp_path / "data", Settings()) as lake:
        assert runner.run(lake.context, "geoip").outcome == "nothing due"
        assert runner.run(lake.context, "geoip", dry_run=True).outcome == "planned"


@pytest.mark.parametrize("packed", [False, True])
def test_a_newer_one_takes_the_place_of_the_old(site: Site, place: Path, packed: bool) -> None:
    site.bodies["/city"] = gzip.compress(CITY.read_bytes()) if packed else CITY.read_bytes()
    held = Database(place)
    outcome = update(place, f"{site.url}/city")
    assert (outcome.outcome, dict(outcome.figures)) == ("done", {"databases": 1, "updated": 1})
    assert place.read_bytes() == CITY.read_bytes()
    assert list(place.parent.iterdir()) == [place]
    assert held.type == "GeoLite2-Country"
    assert Database(place).type == "GeoLite2-City"
    assert update(place, f"{site.url}/city").outcome == "nothing due"
    assert [since for _, since in site.asked][1] == "Wed, 20 May 2015 00:00:00 GMT"


def test_the_first_one_needs_no_other_before_it(site: Site, place: Path) -> None:
    place.unlink()
    site.bodies["/city"] = CITY.read_bytes()
    assert update(place, f"{site.url}/city").outcome == "done"
    assert place.read_bytes() == CITY.read_bytes()


def test_a_file_is_taken_too_and_an_equal_one_changes_nothing(place: Path) -> None:
    assert update(place, CITY.as_uri()).outcome == "done"
    before = place.stat().st_ino
    assert update(place, CITY.as_uri()).outcome == "nothing due"
    assert place.stat().st_ino == before


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"", "not a readable MaxMind DB file"),
        (b"<html>sign in</html>" * 9, "not a readable MaxMind DB file"),
        (CITY.read_bytes()[:-400], "not a readable MaxMind DB file"),
        (gzip.compress(CITY.read_bytes())[:-9], "gzip data"),
        (ASN.read_bytes(), "type 'GeoLite2-ASN', and the one here is 'GeoLite2-Country'"),
    ],
)
def test_what_is_no_database_of_its_kind_changes_nothing(site: Site, place: Path, body: bytes, why: str) -> None:
    site.bodies["/city"] = body
    outcome = update(place, f"{site.url}/city")
    assert outcome.outcome == "failed"
    assert why in outcome.problems[0]
    assert untouched(place)


def test_what_is_too_long_changes_nothing(site: Site, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(geoip, "_MOST_BYTES", 10_000)
    site.bodies["/city"] = gzip.compress(bytes(20_000))
    assert "longer than 10000 bytes" in update(place, f"{site.url}/city").problems[0]
    assert untouched(place)


def test_a_redirect_within_https_is_followed(site: Site, place: Path) -> None:
    site.redirects["/newest"] = f"{site.url}/city"
    site.bodies["/city"] = CITY.read_bytes()
    assert update(place, f"{site.url}/newest").outcome == "done"


@pytest.mark.parametrize("target", [CITY.as_uri(), "http://127.0.0.1:9/city", "ftp://127.0.0.1/city", "data:,x"])
def test_a_redirect_to_anything_else_is_not(site: Site, place: Path, target: str) -> None:
    site.redirects["/newest"] = target
    outcome = update(place, f"{site.url}/newest")
    assert outcome.outcome == "failed"
    assert untouched(place)


def test_a_server_that_nobody_vouches_for_is_not_believed(site: Site, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    site.bodies["/city"] = CITY.read_bytes()
    assert "CERTIFICATE_VERIFY_FAILED" in update(place, f"{site.url}/city").problems[0]
    assert untouched(place)


def test_an_answer_that_is_none_says_so(site: Site, place: Path) -> None:
    assert update(place, f"{site.url}/nothing").problems == (f"{place}: the answer is 404",)
    assert untouched(place)


@pytest.mark.parametrize(
    "url", ["http://example.net/city", "https://user:pass@example.net/city", "/srv/city.mmdb", "file://host/city", "ftp://x/y"]
)
def test_other_places_are_refused_by_the_settings(url: str) -> None:
    with pytest.raises(ValueError, match="no place to download from"):
        GeoSettings(city="city.mmdb", city_url=url)


def test_a_database_that_comes_with_the_program_is_not_updated() -> None:
    with pytest.raises(ValueError, match="set asn to its path"):
        GeoSettings(asn_url="https://example.net/asn.mmdb")

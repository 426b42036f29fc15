"""Hosts and public suffixes."""

from __future__ import annotations

import subprocess
import sys

import pytest

from scrapy_sessions.cookies.hosts import canonical_host, is_ip, is_sharable, site_of
from tests.support.waiting import HANG


@pytest.mark.parametrize(
    ("host", "canonical"),
    [
        ("Shop.EXAMPLE", "shop.example"),
        ("b\u00fccher.example", "xn--bcher-kva.example"),
        ("B\u00dcCHER.Example", "xn--bcher-kva.example"),
        ("[::1]", "::1"),
        ("[FE80::1%eth0]", "fe80::1%eth0"),
        ("shop.example.", "shop.example."),
        ("shop.example:8080", None),
        ("127.0.0.1:80", None),
        ("http:", None),
        ("a:b:c", None),
        ("[::1]:80", None),
        ("shop..example", None),
        (".", None),
        ("127.0.0.1", "127.0.0.1"),
        ("my_host", "my_host"),
        ("", None),
        (".shop.example", None),
        ("a..\u00fc", None),
        ("sho p.example", None),
        ("shop.example;x", None),
        ("\ufffd.example", None),
        (chr(0xD800) + ".example", None),
    ],
)
def test_canonical_host(host: str, canonical: str | None) -> None:
    """A host is kept in lower case and ASCII, and what is no host is none."""
    assert canonical_host(host) == canonical


@pytest.mark.parametrize(
    ("domain", "sharable"),
    [
        ("shop.example", True),
        ("shop.co.uk", True),
        ("co.uk", False),
        ("com", False),
        ("com.", False),
        ("localhost.", False),
        ("shop.example.", True),
        ("blogspot.com", False),
        ("me.blogspot.com", True),
        ("localhost", False),
        ("unknown", False),
        ("127.0.0.1", False),
        ("::1", False),
        ("1.2", False),
    ],
)
def test_is_sharable(domain: str, sharable: bool) -> None:
    """No cookie goes to the subdomains of a public suffix (private ones too), a single label or an IP address."""
    assert is_sharable(domain) is sharable


@pytest.mark.parametrize(
    ("host", "site"),
    [
        ("www.shop.co.uk", "shop.co.uk"),
        ("shop.co.uk", "shop.co.uk"),
        ("co.uk", "co.uk"),
        ("a.b.me.blogspot.com", "me.blogspot.com"),
        ("www.shop.example", "shop.example"),
        ("www.shop.example.", "shop.example"),
        ("localhost", "localhost"),
        ("10.0.0.1", "10.0.0.1"),
        ("::1", "::1"),
    ],
)
def test_site_of(host: str, site: str) -> None:
    """The site of a host is its registrable domain, or the host itself where there is none."""
    assert site_of(host) == site


@pytest.mark.parametrize(
    ("host", "ip"), [("127.0.0.1", True), ("127.0.0.1.", True), ("fe80::1", True), ("a.1", True), ("1.example", False)]
)
def test_is_ip(host: str, ip: bool) -> None:
    """A host whose last label is a number is an address."""
    assert is_ip(host) is ip


def test_no_network() -> None:
    """The list is found without opening a connection, also by a process that never used it."""
    code = (
        "import socket\n"
        "def refuse(*args, **kwargs): raise AssertionError('network')\n"
        "socket.socket.connect = socket.getaddrinfo = refuse\n"
        "from scrapy_sessions.cookies.hosts import is_sharable\n"
        "assert not is_sharable('co.uk') and is_sharable('shop.co.uk')\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=HANG)


def test_suffix_list_is_loaded_late() -> None:
    """Importing the jar and storing a cookie without Domain doesn't load the list."""
    code = (
        "import sys\n"
        "from urllib.parse import urlsplit\n"
        "from scrapy_sessions.cookies import SessionCookieJar\n"
        "jar = SessionCookieJar()\n"
        "jar.store([b'a=b'], urlsplit('https://shop.example/'))\n"
        "assert jar.header(urlsplit('https://shop.example/')) == b'a=b'\n"
        "assert 'tldextract' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=HANG)

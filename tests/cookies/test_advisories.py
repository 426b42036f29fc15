"""What went wrong in other clients' cookie jars, by the advisories that SECURITY.md lists."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest

from scrapy_sessions.cookies import SessionCookieJar


def sent(jar: SessionCookieJar, url: str) -> bytes | None:
    return jar.header(urlsplit(url))


@pytest.mark.parametrize(
    ("host", "domain", "other"),
    [
        ("evil.co.uk", "co.UK", "shop.co.uk"),  # CVE-2023-46218
        ("evil.CO.UK", "co.uk", "shop.co.uk"),
        ("evil.co.uk.", "co.uk", "shop.co.uk"),  # CVE-2022-27779
        ("evil.co.uk.", "co.uk.", "shop.co.uk."),
        ("evil.co.uk", "co.uk.", "shop.co.uk."),  # CVE-2026-8924
        ("evil.example.", "example.", "shop.example."),
        ("192.168.0.1", "168.0.1", "10.168.0.1"),  # CVE-2014-3613
        ("evil.example", "example", "shop.example"),  # CVE-2014-3620
        ("ample.com", "ample.com", "example.com"),  # CVE-2013-1944
    ],
)
def test_no_super_cookie(host: str, domain: str, other: str) -> None:
    """Whatever the case, dots and digits of host and Domain, no cookie goes to another site."""
    jar = SessionCookieJar()
    jar.store([f"planted=1; Domain={domain}; Path=/", "own=1; Path=/"], urlsplit(f"https://{host}/"))
    assert (sent(jar, f"https://{host}/") or b"").endswith(b"own=1")
    assert sent(jar, f"https://{other}/") is None


def test_a_subdomain_takes_no_scope_away() -> None:
    """A cookie of a subdomain doesn't make the host-only cookie of its parent one for all subdomains."""
    # CVE-2026-111749
    jar = SessionCookieJar()
    jar.store(["sid=login; Secure; Path=/"], urlsplit("https://shop.example/"))
    jar.store(["sid=planted; Secure; Domain=shop.example; Path=/"], urlsplit("https://evil.shop.example/"))
    assert sent(jar, "https://evil.shop.example/") == b"sid=planted"
    assert (sent(jar, "https://shop.example/") or b"").startswith(b"sid=login")


def test_a_cookie_of_the_root_overlays_no_secure_one() -> None:
    """Over plain HTTP, a cookie for the path / doesn't replace a Secure one of the same name."""
    # CVE-2025-9086
    jar = SessionCookieJar()
    jar.store(["sid=login; Secure; Path=/"], urlsplit("https://shop.example/account"))
    jar.store(['sid=planted; Path="/"', "sid=planted; Path=/"], urlsplit("http://shop.example/account"))
    assert sent(jar, "https://shop.example/account") == b"sid=login"

"""The request meta keys that a profile may set: which ones have an effect, and which belong to something else."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from scrapy_sessions.json_limits import MAX_SIZE, fault_of

__all__ = ["check_meta"]

_SESSION = "it says which session a request belongs to"
_BOOKKEEPING = "Scrapy keeps it for each request itself"
_CREDENTIAL = "it is a credential, and a profile's meta is used at every site: set it on requests, or log in"
_TOO_EARLY = "it is read before a request gets its session: set it on requests"
_TOO_LATE = "it is read after the response has come, when the session's keys are removed: set it on requests"

_REFUSED = {
    **dict.fromkeys(("session_id", "session_pool", "session_profile", "session_key", "session", "cookiejar"), _SESSION),
    **dict.fromkeys(
        (
            *("depth", "rule", "link_text", "is_start_request"),
            *("download_slot", "download_latency", "cached_response", "cache_timestamp"),
            *("redirect_reasons", "redirect_times", "redirect_ttl", "redirect_urls", "retry_times"),
        ),
        _BOOKKEEPING,
    ),
    **dict.fromkeys(("http_user", "http_pass", "http_auth_domain", "ftp_user", "ftp_password"), _CREDENTIAL),
    **dict.fromkeys(("allow_offsite", "depth_reset", "referrer_policy", "verbatim_url"), _TOO_EARLY),
    **dict.fromkeys(
        (
            *("dont_cache", "dont_redirect", "dont_retry", "give_up_log_level", "max_retry_times", "priority_adjust"),
            *("handle_httpstatus_all", "handle_httpstatus_list"),
        ),
        _TOO_LATE,
    ),
    "proxy": "it is the field 'proxy' of the profile",
    "dont_merge_cookies": "a session sends and keeps its cookies",
    "playwright_context": "each session has a browser context of its own",
    "playwright_page": "a page belongs to one request",
}


def check_meta(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return *content*, the meta of a profile, in a copy of plain JSON. Raises ValueError, which quotes no value."""
    for key in content:
        reason = _REFUSED.get(key)
        if not key or key.startswith("_"):
            reason = "such names are private to middlewares"
        if reason is not None:
            raise ValueError(f"the meta key {key!r:.80} can't be set by a profile: {reason}")
    fault = fault_of(content)
    if fault is None:
        text = json.dumps(content)
        if len(text) <= MAX_SIZE:
            copy: dict[str, Any] = json.loads(text)  # tuples become lists, as in a record that was saved
            return copy
        fault = f"it has more than {MAX_SIZE // 2**20} MiB"
    raise ValueError(f"the meta of a profile must be JSON: {fault}")

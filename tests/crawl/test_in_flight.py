"""Each request in flight ends once, whatever happens to it, and no other request takes its place."""

from __future__ import annotations

import asyncio
import copy
import gc
import pickle
import threading
import time
from collections import deque

from hypothesis import given
from hypothesis import strategies as st
from scrapy import Request
from scrapy.http import Response

from scrapy_sessions import Profile
from scrapy_sessions.crawl.identity import APPLIED, remove_leftovers
from scrapy_sessions.crawl.in_flight import SLOT, InFlightRequests
from scrapy_sessions.sessions.runtime import SessionRuntime
from tests.support.configs import CONFIG

URL = "https://shop.example/p"


def held(in_flight: InFlightRequests) -> int:
    """The number of requests in flight."""
    return len(in_flight._by_id)


def test_a_freed_request_is_no_longer_in_flight() -> None:
    """A request that is freed before it was sent is no longer in flight, and reserves no use."""
    session, in_flight = SessionRuntime("alice"), InFlightRequests()
    in_flight.begin(Request(URL), session, CONFIG)
    assert (held(in_flight), session.in_flight, session.reserved_uses) == (0, 0, 0)


def test_a_request_in_a_cycle_ends_when_it_is_collected() -> None:
    """A request in a reference cycle ends when the garbage collector frees it."""
    session, in_flight = SessionRuntime("alice"), InFlightRequests()
    gc.disable()
    try:
        request = Request(URL)
        request.meta["itself"] = request
        in_flight.begin(request, session, CONFIG)
        del request
        assert (held(in_flight), session.in_flight) == (1, 1)
        gc.collect()
    finally:
        gc.enable()
    assert (held(in_flight), session.in_flight, session.reserved_uses) == (0, 0, 0)


async def test_a_request_freed_in_another_thread_ends_in_the_loop() -> None:
    """The garbage collector may free a request in any thread; the counters of its session change in the loop's only."""
    session, in_flight = SessionRuntime("alice", concurrency=1), InFlightRequests()
    ended_in: list[int] = []

    class Turn(asyncio.Future[None]):
        def set_result(self, result: None) -> None:
            ended_in.append(threading.get_ident())
            super().set_result(result)

    session.queue = deque([Turn()])
    held_request = [Request(URL)]
    in_flight.begin(held_request[0], session, CONFIG)
    await asyncio.to_thread(held_request.clear)
    await asyncio.sleep(0)
    assert (held(in_flight), session.in_flight, session.reserved_uses) == (0, 0, 0)
    assert ended_in == [threading.get_ident()]


def test_a_freed_id_is_not_ended_for_another_request() -> None:
    """The late end of a freed request doesn't end a new request with the same id()."""
    session, in_flight = SessionRuntime("alice"), InFlightRequests()
    first = Request(URL)
    inflight = in_flight.begin(first, session, CONFIG)
    anchor = inflight.anchor
    assert anchor is not None
    second = in_flight.begin(first, session, CONFIG)
    in_flight._forget(anchor)
    assert in_flight.get(first) is second
    assert session.in_flight == 1


def test_an_id_used_again_is_another_request() -> None:
    """A new request is not in flight, also with the id() of one that was."""
    session, in_flight = SessionRuntime("alice"), InFlightRequests()
    again = 0
    for _ in range(20_000):
        request = Request(URL)
        number = id(request)
        in_flight.begin(request, session, CONFIG)
        del request
        fresh = Request(URL)
        again += id(fresh) == number
        assert in_flight.get(fresh) is None
    assert again
    assert (held(in_flight), session.in_flight, session.reserved_uses) == (0, 0, 0)


def test_a_copy_is_not_in_flight() -> None:
    """A copy, however it was made, is another request, which is not in flight."""
    session, in_flight = SessionRuntime("alice"), InFlightRequests()
    request = Request(URL)
    inflight = in_flight.begin(request, session, CONFIG)
    for made in (copy.copy(request), request.copy(), request.replace(url=URL)):
        assert in_flight.get(made) is None
    del made
    assert in_flight.get(request) is inflight
    assert session.in_flight == 1


@given(st.lists(st.sampled_from(["begin", "leave", "answer", "discard"]), max_size=12))
def test_one_request_sent_again_and_again(steps: list[str]) -> None:
    """However often the same request object begins, leaves and is answered, nothing stays in flight in the end."""
    session, in_flight = SessionRuntime("alice", profile=Profile(user_agent="alice/1")), InFlightRequests()
    request = Request(URL, headers={"X-Own": "1"})
    for step in steps:
        inflight = None  # the last reference but that of InFlightRequests
        if step == "begin":
            remove_leftovers(request)
            in_flight.begin(request, session, CONFIG).apply_identity(request)
            assert request.headers[b"User-Agent"] == b"alice/1"
        elif step == "discard":
            in_flight.discard(request)
        elif (inflight := in_flight.get(request)) is not None and step == "leave":
            inflight.mark_sent(time.time())
        elif inflight is not None:
            inflight.remove_identity(request)
            inflight.record_response(request, Response(URL), time.time(), page=True)
            inflight.end()
            assert (dict(request.headers), APPLIED in request.meta) == ({b"X-Own": [b"1"]}, False)
        assert session.in_flight in {0, 1}
    inflight = None
    del request
    assert (held(in_flight), session.in_flight) == (0, 0)
    assert session.reserved_uses <= session.requests


def test_a_request_from_a_disk_queue_gets_a_new_identity() -> None:
    """When a request comes back from a job's queue, the applied identity is removed, and nothing else."""
    alice = SessionRuntime("alice", profile=Profile(user_agent="alice/1", proxy="http://me:word@proxy.example:8080"))
    bob, in_flight = (
        SessionRuntime("bob", profile=Profile(user_agent="bob/1", headers={"X-Of": "bob"})),
        InFlightRequests(),
    )
    request = Request(URL, headers={"X-Own": "1"}, meta={"session_id": "bob"})
    in_flight.begin(request, alice, CONFIG).apply_identity(request)
    back = pickle.loads(pickle.dumps(request))  # as the disk queue does
    assert in_flight.get(back) is None
    remove_leftovers(back)
    assert (dict(back.headers), back.meta) == ({b"X-Own": [b"1"]}, {"session_id": "bob"})
    in_flight.begin(back, bob, CONFIG).apply_identity(back)
    assert (back.headers[b"User-Agent"], back.headers[b"X-Of"]) == (b"bob/1", b"bob")
    assert request.headers[b"User-Agent"] == b"alice/1"
    assert SLOT not in back.meta


def test_a_restored_record_changes_the_identity() -> None:
    """The identity applied to requests is that of the restored record and of the current headers."""
    session, other, in_flight = (
        SessionRuntime("alice", profile=Profile(user_agent="old/1")),
        SessionRuntime("alice"),
        InFlightRequests(),
    )

    def applied() -> dict[bytes, list[bytes]]:
        request = Request(URL)
        in_flight.begin(request, session, CONFIG).apply_identity(request)
        return dict(request.headers)

    assert applied() == {b"User-Agent": [b"old/1"]}
    other.bound_headers.set("X-Token", "t", url=URL)
    other.user_agent = "new/1"
    session.restore(other.snapshot())
    assert applied() == {b"User-Agent": [b"new/1"], b"X-Token": [b"t"]}
    session.bound_headers.delete("X-Token")
    assert applied() == {b"User-Agent": [b"new/1"]}
    session.bound_headers.set("X-Token", "u", url="https://other.example")
    assert applied() == {b"User-Agent": [b"new/1"]}
    session.bound_headers.set("X-Token", "v", url="https://shop.example:443")
    assert applied() == {b"User-Agent": [b"new/1"], b"X-Token": [b"v"]}


def changed_to(changed: str | None, *, before: str | None = "http://old.test:1", **meta: str) -> Request:
    """A request of a session with the proxy *before*, which process_request() changed."""
    session, request = SessionRuntime("alice"), Request(URL, meta=dict(meta))
    session.proxy = before
    inflight = InFlightRequests().begin(request, session, CONFIG)
    inflight.apply_identity(request)
    with inflight.track_changes(request):
        session.proxy = changed
    request.meta["_inflight"] = inflight
    return request


def test_a_header_of_the_session_that_process_request_replaces_does_not_stay() -> None:
    """Neither its own value nor the new one is on the request that is sent again, maybe in another session."""
    session, request = SessionRuntime("alice", profile=Profile(user_agent="alice/1")), Request(URL)
    inflight = InFlightRequests().begin(request, session, CONFIG)
    inflight.apply_identity(request)
    with inflight.track_changes(request):
        request.headers["User-Agent"] = "special/1"
    copy = request.copy()
    assert copy.headers["User-Agent"] == b"special/1"
    remove_leftovers(copy)
    inflight.remove_identity(request)
    assert not request.headers
    assert not copy.headers


def test_a_proxy_set_in_process_request_holds_for_that_request() -> None:
    """So does its removal; the request's own proxy is kept. Afterwards nothing of it is left."""
    new = "http://user:s3cret@new.test:2"
    assert changed_to(new).meta["proxy"] == changed_to(new, before=None).meta["proxy"] == new
    assert "proxy" not in changed_to(None).meta
    assert changed_to(new, proxy="http://own.test:3").meta["proxy"] == "http://own.test:3"
    request = changed_to(new)
    copy = request.copy()
    remove_leftovers(copy)
    request.meta.pop("_inflight").remove_identity(request)
    assert "proxy" not in request.meta
    assert "proxy" not in copy.meta

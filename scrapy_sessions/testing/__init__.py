"""Tests for your own store: inherit :class:`StoreContract`, and pytest runs the tests that every store must pass."""

from __future__ import annotations

from scrapy_sessions.testing._analytics import AnalyticsContract
from scrapy_sessions.testing._base import Clock, make_row
from scrapy_sessions.testing._claims import ClaimContract
from scrapy_sessions.testing._leases import LeaseContract
from scrapy_sessions.testing._listing import ListingContract
from scrapy_sessions.testing._replacing import ReplaceContract
from scrapy_sessions.testing._rows import RowContract
from scrapy_sessions.testing._shared import SharedContract

__all__ = ["Clock", "StoreContract", "make_row"]


class StoreContract(
    RowContract, ReplaceContract, ListingContract, LeaseContract, ClaimContract, SharedContract, AnalyticsContract
):
    """The tests that every :class:`~scrapy_sessions.storage.SessionStore` passes.

    Inherit it in a class that pytest collects, and give it the store::

        class TestMyStore(StoreContract):
            def make_store(self, clock):
                return MyStore(clock=clock)

    The tests of an ability (:class:`~scrapy_sessions.storage.LeaseStore`, :class:`~scrapy_sessions.storage.ClaimStore`,
    :class:`~scrapy_sessions.storage.SharedStore`, :class:`~scrapy_sessions.storage.AnalyticsStore`) are skipped for a
    store without it. For pytest's detailed assertions put
    ``pytest.register_assert_rewrite("scrapy_sessions.testing")`` in ``conftest.py``.
    """

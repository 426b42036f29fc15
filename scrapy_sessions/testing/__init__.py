"""Tests for the stores of others: inherit :class:`StoreContract`, and pytest runs what every store must hold to."""

from __future__ import annotations

from scrapy_sessions.testing._analytics import AnalyticsContract
from scrapy_sessions.testing._base import Clock, make_row
from scrapy_sessions.testing._leases import LeaseContract
from scrapy_sessions.testing._listing import ListingContract
from scrapy_sessions.testing._replacing import ReplaceContract
from scrapy_sessions.testing._rows import RowContract
from scrapy_sessions.testing._shared import SharedContract

__all__ = ["Clock", "StoreContract", "make_row"]


class StoreContract(RowContract, ReplaceContract, ListingContract, LeaseContract, SharedContract, AnalyticsContract):
    """The tests that every :class:`~scrapy_sessions.storage.SessionStore` passes.

    Inherit it in a class that pytest collects, and give it the store::

        class TestMyStore(StoreContract):
            def make_store(self, clock):
                return MyStore(clock=clock)

    The tests of leases are skipped for a store that isn't a :class:`~scrapy_sessions.storage.LeaseStore`, those of
    replacing for one that isn't a :class:`~scrapy_sessions.storage.ReplaceStore`, those of shared data for one that
    isn't a :class:`~scrapy_sessions.storage.SharedStore`, those of analytics for one that isn't an
    :class:`~scrapy_sessions.storage.AnalyticsStore`. For pytest's detailed assertions put
    ``pytest.register_assert_rewrite("scrapy_sessions.testing")`` in ``conftest.py``.
    """

"""The spiders: :mod:`~shop.spiders.accounts` (named sessions), :mod:`~shop.spiders.catalogue` (a pool) and
:mod:`~shop.spiders.prices` (an exclusive pool, for several processes)."""

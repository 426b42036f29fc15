"""The spiders: :mod:`~shop.spiders.accounts` (named sessions) and :mod:`~shop.spiders.catalogue` (a pool)."""

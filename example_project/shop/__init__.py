"""The example project: two spiders with lasting sessions, for the shop of :mod:`shop_site`."""

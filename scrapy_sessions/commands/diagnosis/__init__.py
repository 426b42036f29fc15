"""The checks of ``scrapy sessions doctor``."""

"""Sessions in a browser, by Playwright."""

NEEDS_PLAYWRIGHT = "Sessions in a browser need Playwright: pip install 'scrapy-persistent-sessions[playwright]'"
"""What is said where Playwright is not installed. Nothing else is imported here, as it is an extra."""

"""The spiders of the tests' crawls. They stand in files: Scrapy looks into the source of a callback."""

"""A request on its way through a crawl: its session, its verdict, its login."""

"""Crawls that log in: a shop to log in to, the configs that do it, and the spiders."""

"""A small shop on the web, for the example project to crawl: ``python -m shop_site`` prints its address.

Log in as alice (password "wonderland") or bob ("builder"), or as one of the ten buyers, buyer0 ("purchase0") to buyer9
("purchase9"), who see the price lists. What a visitor does is kept in the server's memory, under a
session cookie, as long as the process runs.
"""

"""The settings of the example project. What belongs to sessions stands first."""

from __future__ import annotations

BOT_NAME = "shop"
SPIDER_MODULES = ["shop.spiders"]
NEWSPIDER_MODULE = "shop.spiders"

# This one line is the whole set-up of the plugin.
ADDONS = {"scrapy_sessions.SessionsAddon": 300}

# Sessions are dropped after half an hour of idleness unless told otherwise. This crawl runs once a day: three days let
# a login outlive a weekend's pause, or a run that failed. Choose what the site itself grants.
SESSIONS_IDLE_TIMEOUT = "3d"

# Who a session is. It gets a profile when it is created and keeps it: the shop closes the profile page to a session
# that comes with a second user agent, and shows German to whoever prefers it.
SESSIONS_PROFILES = {
    "alice": {"user_agent": "ExampleShopReader/1.0 (laptop)", "language": "en-GB,en;q=0.9"},
    "bob": {"user_agent": "ExampleShopReader/1.0 (phone)", "language": "de-DE,de;q=0.9,en;q=0.5"},
}

# Four visitors with a basket each, for the spider "catalogue".
SESSIONS_POOLS = {"shoppers": {"size": 4}}

# Every item says which session it was seen in.
SESSIONS_ITEM_FIELD = "session"

# Where the shop is: `python -m shop_site --port 8080` opens it there. `-s SHOP_SITE=http://...` names another place.
SHOP_SITE = "http://127.0.0.1:8080"
# The example's own customers. Yours come from the environment, or from wherever you keep secrets.
SHOP_PASSWORDS = {"alice": "wonderland", "bob": "builder"}

ROBOTSTXT_OBEY = True
FEED_EXPORT_ENCODING = "utf-8"
TELNETCONSOLE_ENABLED = False

# Writes the stats of a run to STATS_FILE, if that is set. The demo reads them.
EXTENSIONS = {"shop.stats_file.StatsFile": 500}

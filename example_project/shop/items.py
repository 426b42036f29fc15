"""What the spiders find. ``session`` is filled in by the plugin: see ``SESSIONS_ITEM_FIELD`` in the settings."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Account", "Basket", "Order", "PriceList", "Profile"]


@dataclass
class Account:
    """A customer's start page, in the language of the session."""

    user: str
    language: str
    greeting: str
    orders: int
    session: str | None = None


@dataclass
class Order:
    """One order of one customer."""

    user: str
    language: str
    number: int
    date: str
    total: str
    products: list[str]
    session: str | None = None


@dataclass
class PriceList:
    """The prices of one week, by product."""

    week: int
    prices: dict[str, str]
    session: str | None = None


@dataclass
class Profile:
    """A customer's details, and the browser that the shop saw."""

    user: str
    language: str
    email: str
    user_agent: str
    session: str | None = None


@dataclass
class Basket:
    """What lay in a session's basket at the time."""

    products: list[str]
    total: str
    session: str | None = None

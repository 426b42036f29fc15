"""What the shop knows before anyone comes: its customers, their orders, its products, and its two languages."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["CUSTOMERS", "LANGUAGES", "PRODUCTS", "TEXTS", "Customer", "Order", "Product", "money", "negotiate"]

LANGUAGES = ("en", "de")


@dataclass(frozen=True)
class Product:
    """``cents`` is the price of one; ``names`` are by language."""

    number: int
    cents: int
    names: dict[str, str]


@dataclass(frozen=True)
class Order:
    """``lines`` are product numbers and how many of each."""

    number: int
    date: str
    lines: tuple[tuple[int, int], ...]

    @property
    def cents(self) -> int:
        return sum(PRODUCTS[product].cents * count for product, count in self.lines)


@dataclass(frozen=True)
class Customer:
    """A login. A real shop would keep a hash of the password."""

    name: str
    password: str
    email: str
    orders: tuple[Order, ...]


PRODUCTS = {
    number: Product(number, cents, {"en": english, "de": german})
    for number, (cents, english, german) in enumerate(
        [
            (1290, "Tea pot", "Teekanne"),
            (450, "Tea cup", "Teetasse"),
            (890, "Top hat", "Zylinder"),
            (5990, "Pocket watch", "Taschenuhr"),
            (1150, "Pack of cards", "Kartenspiel"),
            (7900, "Looking-glass", "Spiegel"),
            (2490, "Hammer", "Hammer"),
            (1990, "Hand saw", "Handsäge"),
            (990, "Spirit level", "Wasserwaage"),
            (390, "Box of nails", "Schachtel Nägel"),
            (3490, "Tool belt", "Werkzeuggürtel"),
            (12900, "Ladder", "Leiter"),
        ],
        start=1,
    )
}

CUSTOMERS = {
    "alice": Customer(
        "alice",
        "wonderland",
        "alice@shop.example",
        (
            Order(1001, "2026-03-04", ((1, 1), (2, 4))),
            Order(1002, "2026-05-17", ((4, 1),)),
            Order(1003, "2026-06-21", ((5, 2), (3, 1), (6, 1))),
        ),
    ),
    "bob": Customer(
        "bob",
        "builder",
        "bob@shop.example",
        (
            Order(2001, "2026-04-01", ((7, 1), (10, 12))),
            Order(2002, "2026-06-30", ((12, 1), (9, 2))),
        ),
    ),
    **{
        name: Customer(name, password, f"{name}@shop.example", ())
        for name, password in ((f"buyer{number}", f"purchase{number}") for number in range(10))
    },
}

TEXTS = {
    "en": {
        "account": "Your account",
        "add": "Add to basket",
        "agent": "Your browser",
        "basket": "Basket",
        "catalogue": "Catalogue",
        "count": "Number",
        "date": "Date",
        "email": "E-mail",
        "empty": "Nothing yet.",
        "expired": "This form is out of date. Please go back and load its page again.",
        "hello": "Hello, {name}",
        "log_in": "Log in",
        "log_out": "Log out",
        "name": "Name",
        "next": "Next page",
        "not_found": "There is no such page",
        "order": "Order {number}",
        "order_number": "Order number",
        "orders": "Your orders",
        "password": "Password",
        "price": "Price",
        "prices": "Prices",
        "product": "Product",
        "profile": "Your profile",
        "shop": "The Example Shop",
        "suspicious": "Your session has come from another browser before. For your safety this page stays closed.",
        "total": "Total",
        "user": "User",
        "week": "Prices of week {number}",
        "welcome": "Tea things and tools, for alice and bob.",
        "wrong": "User or password is wrong.",
    },
    "de": {
        "account": "Ihr Konto",
        "add": "In den Warenkorb",
        "agent": "Ihr Browser",
        "basket": "Warenkorb",
        "catalogue": "Katalog",
        "count": "Anzahl",
        "date": "Datum",
        "email": "E-Mail",
        "empty": "Noch nichts.",
        "expired": "Dieses Formular ist veraltet. Bitte gehen Sie zurück und laden Sie die Seite neu.",
        "hello": "Guten Tag, {name}",
        "log_in": "Anmelden",
        "log_out": "Abmelden",
        "name": "Name",
        "next": "Nächste Seite",
        "not_found": "Diese Seite gibt es nicht",
        "order": "Bestellung {number}",
        "order_number": "Bestellnummer",
        "orders": "Ihre Bestellungen",
        "password": "Passwort",
        "price": "Preis",
        "prices": "Preise",
        "product": "Artikel",
        "profile": "Ihr Profil",
        "shop": "Der Beispielladen",
        "suspicious": "Ihre Sitzung kam schon von einem anderen Browser. Zu Ihrer Sicherheit bleibt diese Seite zu.",
        "total": "Summe",
        "user": "Benutzer",
        "week": "Preise der Woche {number}",
        "welcome": "Teegeschirr und Werkzeug, für alice und bob.",
        "wrong": "Benutzer oder Passwort ist falsch.",
    },
}


def money(cents: int, language: str) -> str:
    """*cents* as the readers of *language* write an amount in euros."""
    amount = f"{cents / 100:,.2f}"
    if language == "de":
        return amount.translate(str.maketrans(",.", ".,")) + " €"
    return f"€{amount}"


def negotiate(accept_language: str) -> str:
    """The language of :data:`LANGUAGES` that an ``Accept-Language`` header prefers; the first if it wants none."""
    best, best_quality = LANGUAGES[0], 0.0
    for choice in accept_language.split(","):
        tag, _, parameter = choice.partition(";")
        language = tag.strip().lower().split("-")[0]
        try:
            quality = float(parameter.partition("=")[2] or 1)
        except ValueError:
            continue
        if language in LANGUAGES and quality > best_quality:
            best, best_quality = language, quality
    return best

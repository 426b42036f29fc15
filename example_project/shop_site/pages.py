"""The shop's pages: each a function of the visit and the query, found by its path."""

from __future__ import annotations

import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from html import escape
from typing import TypeAlias
from urllib.parse import quote, urlencode

from shop_site.goods import CUSTOMERS, PRODUCTS, TEXTS, Customer, money
from shop_site.layout import definitions, form, frame, link, paragraph, table
from shop_site.visits import Visit, Visits

__all__ = ["Page", "Query", "find"]

PER_PAGE = 3
MOST_WEEKS = 10_000

# What a browser does when the form is sent, and no spider without one.
PROOF = """
<input type="hidden" name="proof">
<script>
    document.currentScript.parentElement.addEventListener("submit", event => {
        const fields = event.target.elements;
        fields.proof.value = [...fields.csrf.value].reverse().join("");
    });
</script>"""


@dataclass(frozen=True)
class Page:
    """An answer. ``location``: a redirect. ``ended``: the visit is over, and its cookie with it."""

    html: str = ""
    status: int = 200
    location: str | None = None
    ended: bool = False


@dataclass(frozen=True)
class Query:
    """What was asked: ``path`` with its query string, the ``number`` in the path, the parameters, the language."""

    method: str
    path: str
    number: int
    parameters: Mapping[str, str]
    language: str

    def text(self, key: str) -> str:
        return TEXTS[self.language][key]


View: TypeAlias = Callable[[Visits, Visit, Query], Page]


def home(visits: Visits, visit: Visit, query: Query) -> Page:
    content = paragraph(query.text("welcome")) + link("/catalogue", query.text("catalogue"))
    return Page(frame(query.text("shop"), content, visit, query.language))


def log_in(visits: Visits, visit: Visit, query: Query) -> Page:
    # Only our own account pages: a login that redirects wherever it is told to helps phishers.
    target = query.parameters.get("next", "")
    target = target if target.startswith("/account") else "/account"
    if visit.user:
        return _redirect(target)
    error = ""
    if query.method == "POST":
        customer = CUSTOMERS.get(query.parameters.get("user", ""))
        password = query.parameters.get("password", "")
        proved = not visits.scripted or query.parameters.get("proof") == visit.csrf[::-1]
        if customer and proved and hmac.compare_digest(customer.password.encode(), password.encode()):
            visits.log_in(visit, customer.name)
            return _redirect(target)
        visits.stats.failed_logins += 1
        error = paragraph(query.text("wrong"), "error")
    fields = (
        f'<label>{escape(query.text("user"))} <input name="user" autocomplete="username"></label>\n'
        f"<label>{escape(query.text('password'))} "
        f'<input name="password" type="password" autocomplete="current-password"></label>'
    )
    if visits.scripted:
        fields += PROOF
    action = f"/login?{urlencode({'next': target})}"
    content = error + form("login", action, visit, fields, query.text("log_in"))
    return Page(frame(query.text("log_in"), content, visit, query.language))


def log_out(visits: Visits, visit: Visit, query: Query) -> Page:
    visits.end(visit)
    return Page(status=303, location="/", ended=True)


def account(visits: Visits, visit: Visit, query: Query, customer: Customer) -> Page:
    content = (
        definitions(
            "account",
            [
                ("user", query.text("user"), customer.name),
                ("orders", query.text("orders"), str(len(customer.orders))),
            ],
        )
        + f"<p>{link('/account/orders', query.text('orders'), class_='orders')}</p>"
        + f"<p>{link('/account/profile', query.text('profile'), class_='profile')}</p>"
    )
    return Page(frame(query.text("hello").format(name=customer.name.title()), content, visit, query.language))


def orders(visits: Visits, visit: Visit, query: Query, customer: Customer) -> Page:
    rows = [
        (
            link(f"/account/orders/{order.number}", query.text("order").format(number=order.number), class_="order"),
            order.date,
            money(order.cents, query.language),
        )
        for order in customer.orders
    ]
    content = table("orders", ["", query.text("date"), query.text("total")], rows)
    return Page(frame(query.text("orders"), content, visit, query.language))


def order(visits: Visits, visit: Visit, query: Query, customer: Customer) -> Page:
    found = next((order for order in customer.orders if order.number == query.number), None)
    if found is None:
        return not_found(visits, visit, query)
    content = definitions(
        "order",
        [
            ("number", query.text("order_number"), str(found.number)),
            ("date", query.text("date"), found.date),
            ("total", query.text("total"), money(found.cents, query.language)),
        ],
    ) + _lines(dict(found.lines), query)
    return Page(frame(query.text("order").format(number=found.number), content, visit, query.language))


def profile(visits: Visits, visit: Visit, query: Query, customer: Customer) -> Page:
    if visit.mixed:
        return Page(
            frame(query.text("profile"), paragraph(query.text("suspicious"), "error"), visit, query.language), 403
        )
    content = definitions(
        "profile",
        [
            ("user", query.text("user"), customer.name),
            ("email", query.text("email"), customer.email),
            ("agent", query.text("agent"), visit.user_agent),
        ],
    )
    return Page(frame(query.text("profile"), content, visit, query.language))


def prices(visits: Visits, visit: Visit, query: Query, customer: Customer) -> Page:
    asked = query.parameters.get("weeks", "52")
    weeks = min(int(asked), MOST_WEEKS) if asked.isdecimal() else 0
    links = (
        link(f"/prices/{number}", query.text("week").format(number=number), class_="week")
        for number in range(1, weeks + 1)
    )
    return Page(frame(query.text("prices"), "\n".join(links), visit, query.language))


def week(visits: Visits, visit: Visit, query: Query, customer: Customer) -> Page:
    if not 1 <= query.number <= MOST_WEEKS:
        return not_found(visits, visit, query)
    rows = [
        # From 90 to 110 percent.
        (
            escape(each.names[query.language]),
            money(each.cents * (90 + (7 * query.number + 3 * each.number) % 21) // 100, query.language),
        )
        for each in PRODUCTS.values()
    ]
    content = table("prices", [query.text("product"), query.text("price")], rows)
    return Page(frame(query.text("week").format(number=query.number), content, visit, query.language))


def catalogue(visits: Visits, visit: Visit, query: Query) -> Page:
    asked = query.parameters.get("page", "1")
    page = int(asked) if asked.isdecimal() else 0
    shown = [product for product in PRODUCTS.values() if (product.number - 1) // PER_PAGE == page - 1]
    if not shown:
        return not_found(visits, visit, query)
    rows = [
        (
            link(f"/product/{product.number}", product.names[query.language], class_="product"),
            money(product.cents, query.language),
        )
        for product in shown
    ]
    content = table("products", [query.text("product"), query.text("price")], rows)
    if shown[-1].number < len(PRODUCTS):
        content += f"<p>{link(f'/catalogue?page={page + 1}', query.text('next'), rel='next')}</p>"
    return Page(frame(query.text("catalogue"), content, visit, query.language))


def product(visits: Visits, visit: Visit, query: Query) -> Page:
    found = PRODUCTS.get(query.number)
    if found is None:
        return not_found(visits, visit, query)
    field = f'<input type="hidden" name="product" value="{found.number}">'
    content = paragraph(money(found.cents, query.language), "price")
    content += form("add", "/basket/add", visit, field, query.text("add"))
    return Page(frame(found.names[query.language], content, visit, query.language))


def basket(visits: Visits, visit: Visit, query: Query) -> Page:
    total = sum(PRODUCTS[number].cents * count for number, count in visit.basket.items())
    content = (
        _lines(visit.basket, query)
        + definitions("basket", [("total", query.text("total"), money(total, query.language))])
        if visit.basket
        else paragraph(query.text("empty"))
    )
    return Page(frame(query.text("basket"), content, visit, query.language))


def add_to_basket(visits: Visits, visit: Visit, query: Query) -> Page:
    number = query.parameters.get("product", "")
    if not number.isdecimal() or int(number) not in PRODUCTS:
        return not_found(visits, visit, query)
    visit.basket[int(number)] += 1
    return _redirect("/basket")


def not_found(visits: Visits, visit: Visit, query: Query) -> Page:
    return Page(frame(query.text("not_found"), link("/", query.text("shop")), visit, query.language), 404)


def out_of_date(visits: Visits, visit: Visit, query: Query) -> Page:
    return Page(frame(query.text("shop"), paragraph(query.text("expired"), "error"), visit, query.language), 403)


def shut_out(visits: Visits, visit: Visit, query: Query) -> Page:
    return Page(frame(query.text("shop"), paragraph(query.text("suspicious"), "error"), visit, query.language), 403)


def _redirect(location: str) -> Page:
    return Page(status=303, location=location)


def _lines(counts: Mapping[int, int], query: Query) -> str:
    rows = [
        (
            link(f"/product/{number}", PRODUCTS[number].names[query.language]),
            str(count),
            money(PRODUCTS[number].cents * count, query.language),
        )
        for number, count in counts.items()
    ]
    return table("lines", [query.text("product"), query.text("count"), query.text("price")], rows)


def _for_customers(view: Callable[[Visits, Visit, Query, Customer], Page]) -> View:
    """Make *view* lead to the login form, and back from there, whoever isn't logged in."""

    def guarded(visits: Visits, visit: Visit, query: Query) -> Page:
        if visit.user is None:
            return Page(status=302, location=f"/login?next={quote(query.path)}")
        return view(visits, visit, query, CUSTOMERS[visit.user])

    return guarded


VIEWS: dict[tuple[str, str], View] = {
    ("GET", "/"): home,
    ("GET", "/login"): log_in,
    ("POST", "/login"): log_in,
    ("GET", "/logout"): log_out,
    ("GET", "/account"): _for_customers(account),
    ("GET", "/account/orders"): _for_customers(orders),
    ("GET", "/account/orders/<n>"): _for_customers(order),
    ("GET", "/account/profile"): _for_customers(profile),
    ("GET", "/prices"): _for_customers(prices),
    ("GET", "/prices/<n>"): _for_customers(week),
    ("GET", "/catalogue"): catalogue,
    ("GET", "/product/<n>"): product,
    ("GET", "/basket"): basket,
    ("POST", "/basket/add"): add_to_basket,
}


def find(method: str, path: str) -> tuple[View, int]:
    """The view of *path*, and the number it ends in (0 if in none)."""
    start, _, last = path.rpartition("/")
    number = int(last) if last.isdecimal() and last.isascii() else 0
    return VIEWS.get((method, f"{start}/<n>" if number else path), not_found), number

"""Reads orders page by page, and yields what each of them costs.

Arguments: `statement` reads one page; its first parameter is the last id that was seen, the second how many rows a
page has. `page_rows`: default 500. In PostgreSQL and SQLite:

    select id, customer, quantity, cents, discount from orders where id > $1 order by id limit $2
"""

import string

from hub_guest import Boundary, Rows, export, fail, field, key, query

FIELDS = [
    key("id", int),
    field("customer", str),
    field("total_cents", int, nullable=False),
    field("net_cents", float, nullable=False),
    field("label", str, nullable=False),
]
# Letters of ASCII only, as databases differ in the others.
UPPER = str.maketrans(string.ascii_lowercase, string.ascii_uppercase)


def orders(arguments, position):
    page_rows = arguments.get("page_rows", 500)
    if page_rows < 1:
        raise fail("invalid-config", "A page needs at least one row", hint="Set `page_rows`")
    last = position["last"] if position else -(2**63)
    while page := [cost(order) for order in query(arguments["statement"], last, page_rows)]:
        yield Rows(FIELDS, page)
        last = page[-1][0]
        yield Boundary({"last": last})


def cost(order):
    total = order["quantity"] * order["cents"]
    name = order["customer"]
    label = f"{'unknown' if name is None else name} #{order['id']}"
    return [order["id"], name and name.translate(UPPER), total, total * (1.0 - order["discount"]), label]


Reader = export(orders)

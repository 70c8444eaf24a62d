// Reads orders page by page, and yields what each of them costs.
//
// Arguments: `statement` reads one page; its first parameter is the last id that was seen, the second how many rows a
// page has. `page_rows`: default 500. In PostgreSQL and SQLite:
//
//     select id, customer, quantity, cents, discount from orders where id > $1 order by id limit $2

import { Failure, boundary, exportFunction, field, query, rows } from "../hub-guest.js";

const FIELDS = [
    field("id", "signed", { key: 0 }),
    field("customer", "text"),
    field("total_cents", "signed", { nullable: false }),
    field("net_cents", "float", { nullable: false }),
    field("label", "text", { nullable: false }),
];

// Letters of ASCII only, as databases differ in the others.
const upper = (text) => text.replace(/[a-z]/g, (letter) => letter.toUpperCase());

function cost({ id, customer, quantity, cents, discount }) {
    const total = quantity * cents;
    const name = customer === null ? null : upper(customer);
    return [id, name, total, Number(total) * (1 - discount), `${customer ?? "unknown"} #${id}`];
}

export const reader = exportFunction(function* orders(args, position) {
    const pageRows = BigInt(args.page_rows ?? 500);
    if (pageRows < 1n) {
        throw new Failure("invalid-config", "A page needs at least one row", { hint: "Set `page_rows`" });
    }
    // JSON has no whole numbers of 64 bits in JavaScript: the position holds digits.
    let last = position === undefined ? -(2n ** 63n) : BigInt(position.last);
    for (;;) {
        const page = Array.from(query(args.statement, last, pageRows), cost);
        if (page.length === 0) return;
        yield rows(FIELDS, page);
        last = page.at(-1)[0];
        yield boundary({ last: String(last) });
    }
});

// Custom functions of Connector Hub in JavaScript: write a generator, and export it.
//
//     export const reader = exportFunction(function* orders(args, position) {
//         ...
//         yield rows(FIELDS, [[1n, "a"]]);
//         yield boundary({ last: "1" });
//     });
//
// Whole numbers are BigInt, so none is ever rounded: a number such as 1 becomes a float.

import { query as hubQuery } from "connector-hub:plugin/connection@1.0.0";
import { write } from "connector-hub:plugin/log@1.0.0";

/** A failure to throw. Kinds: invalid-config, invalid-data, not-found, unavailable … */
export class Failure extends Error {
    constructor(kind, message, { hint, retryable = false } = {}) {
        super(message);
        this.payload = { kind, message, hint, retryable };
    }
}

/** A column: `type` is boolean, signed, unsigned, float, text, bytes, date, time, timestamp, instant or json. */
export function field(name, type, { nullable = true, key } = {}) {
    return { name, columnType: { tag: type }, nullable: nullable && key === undefined, key };
}

/** A column of decimals, whose values are texts of digits. */
export function decimal(name, precision, scale, { nullable = true } = {}) {
    return { name, columnType: { tag: "decimal", val: { precision, scale } }, nullable, key: undefined };
}

/** Rows to yield: lists of values in the order of the fields. Every batch of a run has the same fields. */
export function rows(fields, values) {
    const convert = (row) => row.map((value, column) => toColumn(fields[column], value));
    return { tag: "rows", val: { tag: "rows", val: { fields, rows: values.map(convert) } } };
}

/** All before it may become visible together. With a position, an object, a later run resumes exactly there. */
export function boundary(position) {
    return { tag: "boundary", val: position === undefined ? undefined : JSON.stringify(position) };
}

/** The rows of a statement in text, such as SQL, each as an object; one after another. */
export function* query(statement, ...parameters) {
    yield* read({ tag: "text", val: statement }, parameters);
}

/** The rows of a command and its arguments. */
export function* command(...parts) {
    yield* read({ tag: "command", val: parts.map(toValue) }, []);
}

/** The rows of a query document in extended JSON. */
export function* document(json) {
    yield* read({ tag: "document", val: json }, []);
}

/** A line for the hub's log: error, warn, info, debug or trace. Never values of cells, never secrets. */
export function log(message, level = "info") {
    write(level, message);
}

function* read(statement, parameters) {
    const cursor = hubQuery(statement, parameters.map(toValue), "rows");
    let batch;
    while ((batch = cursor.next()) !== undefined) {
        const names = batch.val.fields.map((field) => field.name);
        for (const row of batch.val.rows) {
            yield Object.fromEntries(row.map((value, column) => [names[column], fromValue(value)]));
        }
    }
    cursor[Symbol.dispose]?.();
}

// A value that came: null, or the value itself. Whole numbers, times and timestamps are BigInt, decimals digits.
function fromValue(value) {
    return value.tag === "null" ? null : value.val;
}

// A parameter: its type tells what it is.
function toValue(value) {
    switch (typeof value) {
        case "bigint":
            return value < 2n ** 63n ? { tag: "signed", val: value } : { tag: "unsigned", val: value };
        case "number":
            return { tag: "float", val: value };
        case "boolean":
            return { tag: "boolean", val: value };
        case "string":
            return { tag: "text", val: value };
    }
    if (value === null) return { tag: "null" };
    if (value instanceof Uint8Array) return { tag: "bytes", val: value };
    throw new Failure("invalid-data", `A parameter is ${value}, which is no value of a row`);
}

const KINDS = {
    boolean: "boolean",
    signed: "bigint",
    unsigned: "bigint",
    float: "number",
    decimal: "string",
    text: "string",
    date: "number",
    time: "bigint",
    timestamp: "bigint",
    instant: "bigint",
    json: "string",
};

// A value that goes: its column tells what it is.
function toColumn(field, value) {
    if (field === undefined) throw new Failure("schema-mismatch", "A row has more values than there are fields");
    if (value === null || value === undefined) return { tag: "null" };
    const type = field.columnType.tag;
    const fits = type === "bytes" ? value instanceof Uint8Array : typeof value === KINDS[type];
    if (!fits) {
        throw new Failure("schema-mismatch", `Column \`${field.name}\` is ${type} and got a ${typeof value}`, {
            hint: KINDS[type] === "bigint" ? "Whole numbers are BigInt: write 1n" : undefined,
        });
    }
    return { tag: type, val: value };
}

/** What the contract wants: to be exported as `reader`. `generate(args, position)` is a generator. */
export function exportFunction(generate, { positionVersion = 1 } = {}) {
    let events;
    return {
        positionVersion: () => positionVersion,
        open(args, position) {
            guarded(() => {
                events = generate(JSON.parse(args), position === undefined ? undefined : JSON.parse(position));
            });
        },
        next: () => guarded(() => events.next().value ?? { tag: "end" }),
    };
}

// What is thrown and is no failure of the contract's becomes one, so that its message arrives.
function guarded(run) {
    try {
        return run();
    } catch (error) {
        if (error?.payload) throw error;
        throw new Failure("invalid-data", `The function failed: ${error}`);
    }
}

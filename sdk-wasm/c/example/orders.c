// Reads orders page by page, and yields what each of them costs.
//
// Arguments: `statement` reads one page; its first parameter is the last id that was seen, the second how many rows a
// page has. `page_rows`: default 500. `encoding`: `rows`, the default, or `columns`. In PostgreSQL and SQLite:
//
//   select id, customer, quantity, cents, discount from orders where id > $1 order by id limit $2

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../hub_guest.h"

const uint32_t hub_position_version = 1;

static char *statement;
static int64_t page_rows = 500;
static int64_t last = INT64_MIN;
static bool by_columns;
// Whether a page was yielded whose boundary is still to come.
static bool page_is_open;

bool hub_open(hub_string arguments, const hub_string *position, hub_failure *failure) {
    statement = hub_json_text(arguments, "statement");
    if (!statement) return hub_fail(failure, "invalid-config", "The argument `statement` is missing");
    hub_json_integer(arguments, "page_rows", &page_rows);
    if (page_rows < 1) return hub_fail(failure, "invalid-config", "A page needs at least one row: set `page_rows`");
    char *encoding = hub_json_text(arguments, "encoding");
    by_columns = encoding && strcmp(encoding, "columns") == 0;
    if (encoding && !by_columns && strcmp(encoding, "rows") != 0) {
        return hub_fail(failure, "invalid-config", "The argument `encoding` is neither rows nor columns");
    }
    free(encoding);
    if (position && !hub_json_integer(*position, "last", &last)) {
        return hub_fail(failure, "position-lost", "The position has no whole number `last`");
    }
    return true;
}

static bool total_of(int64_t quantity, int64_t cents, int64_t *total, hub_failure *failure) {
    if (!__builtin_mul_overflow(quantity, cents, total)) return true;
    return hub_fail(failure, "invalid-data", "The total of an order is above 2^63 - 1 cents");
}

// `customer #id`; from malloc.
static char *label_of(const char *customer, size_t length, int64_t id) {
    if (!customer) customer = "unknown", length = 7;
    char *label = malloc(length + 32);
    if (!label) abort();
    snprintf(label, length + 32, "%.*s #%" PRId64, (int)length, customer, id);
    return label;
}

static void upper(char *text, size_t length) {
    for (size_t i = 0; i < length; i++) {
        if (text[i] >= 'a' && text[i] <= 'z') text[i] -= 'a' - 'A';
    }
}

static const char *const names[] = {"id", "customer", "quantity", "cents", "discount"};

static bool find_columns(const hub_field *fields, size_t count, int *places, hub_failure *failure) {
    for (int i = 0; i < 5; i++) {
        places[i] = hub_find(fields, count, names[i]);
        if (places[i] < 0) return hub_fail(failure, "schema-mismatch", "The statement lacks a column of an order");
    }
    return true;
}

static void output_fields(hub_field *fields) {
    fields[0] = hub_field_of("id", HUB_SIGNED, false, 0);
    fields[1] = hub_field_of("customer", HUB_TEXT, true, -1);
    fields[2] = hub_field_of("total_cents", HUB_SIGNED, false, -1);
    fields[3] = hub_field_of("net_cents", HUB_FLOAT, false, -1);
    fields[4] = hub_field_of("label", HUB_TEXT, false, -1);
}

// Appends the rows of a batch that came to the batch that is yielded.
static bool transform_rows(const hub_row_batch *from, hub_batch *to, hub_failure *failure) {
    int at[5];
    if (!find_columns(from->fields.ptr, from->fields.len, at, failure)) return false;
    for (size_t i = 0; i < from->rows.len; i++) {
        const hub_value *row = from->rows.ptr[i].ptr;
        const hub_value *customer = &row[at[1]];
        bool fits = row[at[0]].tag == CONNECTOR_HUB_PLUGIN_TYPES_VALUE_SIGNED &&
                    row[at[2]].tag == CONNECTOR_HUB_PLUGIN_TYPES_VALUE_SIGNED &&
                    row[at[3]].tag == CONNECTOR_HUB_PLUGIN_TYPES_VALUE_SIGNED &&
                    row[at[4]].tag == CONNECTOR_HUB_PLUGIN_TYPES_VALUE_FLOAT &&
                    (customer->tag == CONNECTOR_HUB_PLUGIN_TYPES_VALUE_TEXT ||
                     customer->tag == CONNECTOR_HUB_PLUGIN_TYPES_VALUE_NULL);
        if (!fits) return hub_fail(failure, "schema-mismatch", "A column of an order holds a value of another type");
        bool has_name = customer->tag == CONNECTOR_HUB_PLUGIN_TYPES_VALUE_TEXT;
        const char *name = has_name ? (const char *)customer->val.text.ptr : NULL;
        size_t length = has_name ? customer->val.text.len : 0;
        int64_t id = row[at[0]].val.signed_, total;
        if (!total_of(row[at[2]].val.signed_, row[at[3]].val.signed_, &total, failure)) return false;

        hub_value *out = hub_rows_add(to);
        out[0] = hub_signed(id);
        if (name) {
            out[1] = hub_text(name, length);
            upper((char *)out[1].val.text.ptr, length);
        }
        out[2] = hub_signed(total);
        out[3].tag = CONNECTOR_HUB_PLUGIN_TYPES_VALUE_FLOAT;
        out[3].val.float_ = (double)total * (1.0 - row[at[4]].val.float_);
        char *label = label_of(name, length, id);
        out[4] = hub_text(label, strlen(label));
        free(label);
        last = id;
    }
    return true;
}

// The text of a row of a column; NULL where it is null.
static const char *text_at(const hub_column *column, size_t row, size_t *length) {
    if (column->validity.is_some && !column->validity.val.ptr[row]) return NULL;
    const int32_t *offsets = column->values.val.text.offsets.ptr;
    *length = (size_t)(offsets[row + 1] - offsets[row]);
    // A text may be empty, and then there may be no data at all.
    return *length ? (const char *)column->values.val.text.data.ptr + offsets[row] : "";
}

// The columns of one batch that came as one batch that is yielded.
static bool transform_columns(const hub_column_batch *from, hub_batch *to, hub_failure *failure) {
    int at[5];
    if (!find_columns(from->fields.ptr, from->fields.len, at, failure)) return false;
    const hub_column *in[5];
    const uint8_t types[] = {HUB_SIGNED, HUB_TEXT, HUB_SIGNED, HUB_SIGNED, HUB_FLOAT};
    for (int i = 0; i < 5; i++) {
        in[i] = &from->columns.ptr[at[i]];
        if (in[i]->values.tag != types[i]) {
            return hub_fail(failure, "schema-mismatch", "A column of an order is of another type");
        }
    }
    hub_field fields[5];
    output_fields(fields);
    size_t length = from->length;
    hub_columns_start(to, 5, length);
    int64_t *ids = hub_columns_signed(to, 0, fields[0])->values.val.signed_.ptr;
    hub_column *customers = hub_columns_text(to, 1, fields[1]);
    int64_t *totals = hub_columns_signed(to, 2, fields[2])->values.val.signed_.ptr;
    double *nets = hub_columns_float(to, 3, fields[3])->values.val.float_.ptr;
    hub_column *labels = hub_columns_text(to, 4, fields[4]);
    for (size_t row = 0; row < length; row++) {
        int64_t total;
        int64_t quantity = in[2]->values.val.signed_.ptr[row], cents = in[3]->values.val.signed_.ptr[row];
        if (!total_of(quantity, cents, &total, failure)) return false;
        ids[row] = in[0]->values.val.signed_.ptr[row];
        totals[row] = total;
        nets[row] = (double)total * (1.0 - in[4]->values.val.float_.ptr[row]);
        size_t bytes = 0;
        const char *name = text_at(in[1], row, &bytes);
        char *label = label_of(name, bytes, ids[row]);
        hub_flat_add(labels, label, strlen(label));
        free(label);
        size_t begin = customers->values.val.text.data.len;
        hub_flat_add(customers, name, bytes);
        if (name) upper((char *)customers->values.val.text.data.ptr + begin, bytes);
        last = ids[row];
    }
    return true;
}

// A page by rows: all its batches as one. `*found` is whether there was a row.
static bool page_of_rows(hub_cursor cursor, hub_batch *page, bool *found, hub_failure *failure) {
    hub_rows_start(page, 5);
    output_fields(hub_rows_fields(page));
    for (;;) {
        hub_batch batch;
        bool more;
        if (!hub_cursor_next(cursor, &batch, &more, failure)) return false;
        if (!more) break;
        bool transformed = transform_rows(&batch.val.rows, page, failure);
        connector_hub_plugin_types_batch_free(&batch);
        if (!transformed) return false;
    }
    *found = page->val.rows.rows.len > 0;
    return true;
}

// A page by columns: one batch of it. What else there is, the next page begins with.
static bool page_of_columns(hub_cursor cursor, hub_batch *page, bool *found, hub_failure *failure) {
    hub_batch batch;
    if (!hub_cursor_next(cursor, &batch, found, failure)) return false;
    if (!*found) return true;
    bool transformed = transform_columns(&batch.val.columns, page, failure);
    connector_hub_plugin_types_batch_free(&batch);
    return transformed;
}

bool hub_next(hub_event *event, hub_failure *failure) {
    memset(event, 0, sizeof *event);
    if (page_is_open) {
        char position[48];
        snprintf(position, sizeof position, "{\"last\":%" PRId64 "}", last);
        hub_boundary(event, position);
        page_is_open = false;
        return true;
    }
    hub_value parameters[] = {hub_signed(last), hub_signed(page_rows)};
    uint8_t encoding = by_columns ? CONNECTOR_HUB_PLUGIN_CONNECTION_ENCODING_COLUMNS
                                  : CONNECTOR_HUB_PLUGIN_CONNECTION_ENCODING_ROWS;
    hub_cursor cursor;
    if (!hub_query(statement, parameters, 2, encoding, &cursor, failure)) return false;
    bool (*read)(hub_cursor, hub_batch *, bool *, hub_failure *) = by_columns ? page_of_columns : page_of_rows;
    bool is_read = read(cursor, &event->val.rows, &page_is_open, failure);
    hub_cursor_close(cursor);
    event->tag = page_is_open ? EXPORTS_CONNECTOR_HUB_PLUGIN_READER_EVENT_ROWS
                              : EXPORTS_CONNECTOR_HUB_PLUGIN_READER_EVENT_END;
    return is_read;
}

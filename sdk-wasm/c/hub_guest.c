#include "hub_guest.h"

#include <stdlib.h>
#include <string.h>

// Memory that must be there: a function without it cannot say so either.
static void *memory(void *old, size_t bytes) {
    void *made = realloc(old, bytes ? bytes : 1);
    if (!made) abort();
    return made;
}

uint32_t exports_connector_hub_plugin_reader_position_version(void) { return hub_position_version; }

bool exports_connector_hub_plugin_reader_open(hub_string *arguments, hub_string *maybe_position,
                                              hub_failure *failure) {
    bool opened = hub_open(*arguments, maybe_position, failure);
    custom_function_string_free(arguments);
    if (maybe_position) custom_function_string_free(maybe_position);
    return opened;
}

bool exports_connector_hub_plugin_reader_next(hub_event *event, hub_failure *failure) {
    return hub_next(event, failure);
}

bool hub_fail(hub_failure *failure, const char *kind, const char *message) {
    memset(failure, 0, sizeof *failure);
    custom_function_string_dup(&failure->kind, kind);
    custom_function_string_dup(&failure->message, message);
    return false;
}

// Behind a JSON text that begins at `at`; the end where it does not close.
static const char *skip_text(const char *at, const char *end) {
    for (at++; at < end && *at != '"'; at++) {
        if (*at == '\\') at++;
    }
    return at < end ? at + 1 : end;
}

static const char *skip_blanks(const char *at, const char *end) {
    while (at < end && (*at == ' ' || *at == '\n' || *at == '\t' || *at == '\r')) at++;
    return at;
}

// Where the value of a field of the outermost object begins; NULL where there is none.
static const char *json_value(hub_string json, const char *name, const char **end) {
    const char *at = (const char *)json.ptr;
    *end = at + json.len;
    int depth = 0;
    while (at < *end) {
        if (*at == '"') {
            const char *begin = at + 1;
            at = skip_text(at, *end);
            const char *next = skip_blanks(at, *end);
            bool is_name = depth == 1 && next < *end && *next == ':';
            size_t length = (size_t)(at - 1 - begin);
            if (is_name && length == strlen(name) && memcmp(begin, name, length) == 0) {
                return skip_blanks(next + 1, *end);
            }
            continue;
        }
        if (*at == '{' || *at == '[') depth++;
        if (*at == '}' || *at == ']') depth--;
        at++;
    }
    return NULL;
}

char *hub_json_text(hub_string json, const char *name) {
    const char *end, *at = json_value(json, name, &end);
    if (!at || at >= end || *at != '"') return NULL;
    char *text = memory(NULL, (size_t)(end - at)), *to = text;
    for (at++; at < end && *at != '"'; at++) {
        if (*at != '\\') {
            *to++ = *at;
            continue;
        }
        switch (*++at) {
        case 'n': *to++ = '\n'; break;
        case 't': *to++ = '\t'; break;
        case '"': case '\\': case '/': *to++ = *at; break;
        default: free(text); return NULL;
        }
    }
    *to = 0;
    return text;
}

bool hub_json_integer(hub_string json, const char *name, int64_t *value) {
    const char *end, *at = json_value(json, name, &end);
    if (!at || at >= end) return false;
    bool negative = *at == '-';
    at += negative;
    uint64_t limit = negative ? (uint64_t)INT64_MAX + 1 : (uint64_t)INT64_MAX, number = 0;
    if (at >= end || *at < '0' || *at > '9') return false;
    for (; at < end && *at >= '0' && *at <= '9'; at++) {
        uint64_t digit = (uint64_t)(*at - '0');
        if (number > (limit - digit) / 10) return false;
        number = number * 10 + digit;
    }
    if (at < end && (*at == '.' || *at == 'e' || *at == 'E')) return false;
    *value = negative ? (int64_t)(0 - number) : (int64_t)number;
    return true;
}

hub_value hub_signed(int64_t value) {
    return (hub_value){.tag = CONNECTOR_HUB_PLUGIN_TYPES_VALUE_SIGNED, .val.signed_ = value};
}

hub_value hub_text(const char *text, size_t length) {
    hub_value value = {.tag = CONNECTOR_HUB_PLUGIN_TYPES_VALUE_TEXT};
    value.val.text.ptr = memory(NULL, length);
    value.val.text.len = length;
    memcpy(value.val.text.ptr, text, length);
    return value;
}

bool hub_query(const char *statement, hub_value *parameters, size_t count, uint8_t encoding, hub_cursor *cursor,
               hub_failure *failure) {
    connector_hub_plugin_connection_statement_t text = {.tag = CONNECTOR_HUB_PLUGIN_CONNECTION_STATEMENT_TEXT};
    custom_function_string_set(&text.val.text, statement);
    connector_hub_plugin_connection_list_value_t values = {parameters, count};
    return connector_hub_plugin_connection_query(&text, &values, encoding, cursor, failure);
}

bool hub_cursor_next(hub_cursor cursor, hub_batch *batch, bool *more, hub_failure *failure) {
    connector_hub_plugin_connection_option_batch_t next;
    connector_hub_plugin_connection_borrow_cursor_t borrowed = connector_hub_plugin_connection_borrow_cursor(cursor);
    if (!connector_hub_plugin_connection_method_cursor_next(borrowed, &next, failure)) return false;
    *more = next.is_some;
    if (next.is_some) *batch = next.val;
    return true;
}

void hub_cursor_close(hub_cursor cursor) { connector_hub_plugin_connection_cursor_drop_own(cursor); }

hub_field hub_field_of(const char *name, uint8_t type, bool nullable, int key) {
    hub_field field = {.nullable = nullable, .key = {.is_some = key >= 0, .val = (uint32_t)key}};
    field.column_type.tag = type;
    custom_function_string_dup(&field.name, name);
    return field;
}

int hub_find(const hub_field *fields, size_t count, const char *name) {
    for (size_t i = 0; i < count; i++) {
        if (fields[i].name.len == strlen(name) && memcmp(fields[i].name.ptr, name, fields[i].name.len) == 0) {
            return (int)i;
        }
    }
    return -1;
}

void hub_rows_start(hub_batch *batch, size_t columns) {
    memset(batch, 0, sizeof *batch);
    batch->tag = CONNECTOR_HUB_PLUGIN_TYPES_BATCH_ROWS;
    batch->val.rows.fields.len = columns;
    batch->val.rows.fields.ptr = memory(NULL, columns * sizeof(hub_field));
    memset(batch->val.rows.fields.ptr, 0, columns * sizeof(hub_field));
}

hub_field *hub_rows_fields(hub_batch *batch) { return batch->val.rows.fields.ptr; }

hub_value *hub_rows_add(hub_batch *batch) {
    connector_hub_plugin_types_list_list_value_t *rows = &batch->val.rows.rows;
    // Room for a power of two.
    if ((rows->len & (rows->len - 1)) == 0) {
        size_t room = rows->len ? rows->len * 2 : 1;
        rows->ptr = memory(rows->ptr, room * sizeof *rows->ptr);
    }
    size_t bytes = batch->val.rows.fields.len * sizeof(hub_value);
    hub_value *values = memory(NULL, bytes);
    memset(values, 0, bytes);
    rows->ptr[rows->len++] = (connector_hub_plugin_types_list_value_t){values, batch->val.rows.fields.len};
    return values;
}

void hub_columns_start(hub_batch *batch, size_t columns, size_t length) {
    memset(batch, 0, sizeof *batch);
    batch->tag = CONNECTOR_HUB_PLUGIN_TYPES_BATCH_COLUMNS;
    hub_column_batch *rows = &batch->val.columns;
    rows->length = (uint32_t)length;
    rows->fields.len = rows->columns.len = columns;
    rows->fields.ptr = memory(NULL, columns * sizeof(hub_field));
    rows->columns.ptr = memory(NULL, columns * sizeof(hub_column));
    memset(rows->fields.ptr, 0, columns * sizeof(hub_field));
    memset(rows->columns.ptr, 0, columns * sizeof(hub_column));
}

static hub_column *column_of(hub_batch *batch, size_t column, hub_field field) {
    batch->val.columns.fields.ptr[column] = field;
    hub_column *made = &batch->val.columns.columns.ptr[column];
    made->values.tag = field.column_type.tag;
    return made;
}

hub_column *hub_columns_signed(hub_batch *batch, size_t column, hub_field field) {
    hub_column *made = column_of(batch, column, field);
    size_t length = batch->val.columns.length;
    made->values.val.signed_ = (custom_function_list_s64_t){memory(NULL, length * sizeof(int64_t)), length};
    return made;
}

hub_column *hub_columns_float(hub_batch *batch, size_t column, hub_field field) {
    hub_column *made = column_of(batch, column, field);
    size_t length = batch->val.columns.length;
    made->values.val.float_ = (custom_function_list_f64_t){memory(NULL, length * sizeof(double)), length};
    return made;
}

hub_column *hub_columns_text(hub_batch *batch, size_t column, hub_field field) {
    hub_column *made = column_of(batch, column, field);
    size_t length = batch->val.columns.length;
    hub_flat *flat = &made->values.val.text;
    flat->offsets.ptr = memory(NULL, (length + 1) * sizeof(int32_t));
    flat->offsets.ptr[0] = 0;
    flat->offsets.len = 1;
    if (field.nullable) {
        made->validity.is_some = true;
        made->validity.val.ptr = memory(NULL, length);
    }
    return made;
}

void hub_flat_add(hub_column *column, const char *text, size_t length) {
    hub_flat *flat = &column->values.val.text;
    if (column->validity.is_some) column->validity.val.ptr[column->validity.val.len++] = text != NULL;
    if (text && length) {
        size_t used = flat->data.len, room = 64;
        while (room < used) room *= 2;
        // Grows by doubling: the room is always the power of two above what is used.
        if (used == 0 || used + length > room) {
            while (room < used + length) room *= 2;
            flat->data.ptr = memory(flat->data.ptr, room);
        }
        memcpy(flat->data.ptr + used, text, length);
        flat->data.len = used + length;
    }
    flat->offsets.ptr[flat->offsets.len++] = (int32_t)flat->data.len;
}

void hub_boundary(hub_event *event, const char *position) {
    memset(event, 0, sizeof *event);
    event->tag = EXPORTS_CONNECTOR_HUB_PLUGIN_READER_EVENT_BOUNDARY;
    event->val.boundary.is_some = position != NULL;
    if (position) custom_function_string_dup(&event->val.boundary.val, position);
}

// Custom functions of Connector Hub in C: short names for the generated bindings, JSON arguments, rows and columns.
//
// A module defines hub_open and hub_next. All memory that a batch or a failure refers to is from malloc: the bindings
// free it after the hub has read it.
#ifndef HUB_GUEST_H
#define HUB_GUEST_H

#include "generated/custom_function.h"

typedef custom_function_string_t hub_string;
typedef connector_hub_plugin_types_value_t hub_value;
typedef connector_hub_plugin_types_field_t hub_field;
typedef connector_hub_plugin_types_row_batch_t hub_row_batch;
typedef connector_hub_plugin_types_column_batch_t hub_column_batch;
typedef connector_hub_plugin_types_column_t hub_column;
typedef connector_hub_plugin_types_flat_t hub_flat;
typedef connector_hub_plugin_types_batch_t hub_batch;
typedef connector_hub_plugin_types_failure_t hub_failure;
typedef connector_hub_plugin_connection_own_cursor_t hub_cursor;
typedef exports_connector_hub_plugin_reader_event_t hub_event;

#define HUB_BOOLEAN CONNECTOR_HUB_PLUGIN_TYPES_COLUMN_TYPE_BOOLEAN
#define HUB_SIGNED CONNECTOR_HUB_PLUGIN_TYPES_COLUMN_TYPE_SIGNED
#define HUB_UNSIGNED CONNECTOR_HUB_PLUGIN_TYPES_COLUMN_TYPE_UNSIGNED
#define HUB_FLOAT CONNECTOR_HUB_PLUGIN_TYPES_COLUMN_TYPE_FLOAT
#define HUB_TEXT CONNECTOR_HUB_PLUGIN_TYPES_COLUMN_TYPE_TEXT
#define HUB_BYTES CONNECTOR_HUB_PLUGIN_TYPES_COLUMN_TYPE_BYTES

// The module's own: the version of its positions, raised when their shape changes.
extern const uint32_t hub_position_version;
// The module's own: called once, first. `position` is NULL at the start. False with `failure` filled when it fails.
bool hub_open(hub_string arguments, const hub_string *position, hub_failure *failure);
// The module's own: the next event.
bool hub_next(hub_event *event, hub_failure *failure);

// Fills a failure and answers false. Kinds: invalid-config, invalid-data, schema-mismatch, not-found, unavailable ...
bool hub_fail(hub_failure *failure, const char *kind, const char *message);

// The text of a field of a JSON object, without escapes other than \" \\ \/ \n \t; from malloc, NULL where it is absent.
char *hub_json_text(hub_string json, const char *name);
// The whole number of a field of a JSON object; false where it is absent or no whole number of 64 bits.
bool hub_json_integer(hub_string json, const char *name, int64_t *value);

// Values as parameters of a statement.
hub_value hub_signed(int64_t value);

// Runs a statement in text, such as SQL. Encodings: CONNECTOR_HUB_PLUGIN_CONNECTION_ENCODING_ROWS, _COLUMNS.
bool hub_query(const char *statement, hub_value *parameters, size_t count, uint8_t encoding, hub_cursor *cursor,
               hub_failure *failure);
// The next batch of a statement; `*more` is false at its end.
bool hub_cursor_next(hub_cursor cursor, hub_batch *batch, bool *more, hub_failure *failure);
void hub_cursor_close(hub_cursor cursor);

// A column of rows to yield: `key` is its place in the key from 0, or -1.
hub_field hub_field_of(const char *name, uint8_t type, bool nullable, int key);
// Where a column stands among fields; -1 where there is none.
int hub_find(const hub_field *fields, size_t count, const char *name);

// Rows to yield, one list a row.
void hub_rows_start(hub_batch *batch, size_t columns);
// The fields, to be filled once.
hub_field *hub_rows_fields(hub_batch *batch);
// Another row: its values, all null.
hub_value *hub_rows_add(hub_batch *batch);

// A copy of a text.
hub_value hub_text(const char *text, size_t length);

// Rows to yield, one list a column: all of them have `length` values.
void hub_columns_start(hub_batch *batch, size_t columns, size_t length);
hub_column *hub_columns_signed(hub_batch *batch, size_t column, hub_field field);
hub_column *hub_columns_float(hub_batch *batch, size_t column, hub_field field);
// A column of texts; append exactly `length` of them with hub_flat_add, in order. NULL is a null.
hub_column *hub_columns_text(hub_batch *batch, size_t column, hub_field field);
void hub_flat_add(hub_column *column, const char *text, size_t length);

// An event without rows: `position` is JSON text that is copied, or NULL.
void hub_boundary(hub_event *event, const char *position);

#endif

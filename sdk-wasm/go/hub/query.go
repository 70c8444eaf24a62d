package hub

import "unsafe"

//go:wasmimport connector-hub:plugin/connection@1.0.0 query
func importQuery(kind, statement, length, parameters, count, encoding uint32, result unsafe.Pointer)

//go:wasmimport connector-hub:plugin/connection@1.0.0 [method]cursor.next
func importNext(cursor uint32, result unsafe.Pointer)

//go:wasmimport connector-hub:plugin/connection@1.0.0 [resource-drop]cursor
func importDrop(cursor uint32)

//go:wasmimport connector-hub:plugin/log@1.0.0 write
func importLog(level, message, length uint32)

// The encodings of a cursor's batches.
const (
	encodingRows = iota
	encodingColumns
)

// Cursor is a statement's rows. Close it.
type Cursor struct{ handle uint32 }

// ColumnCursor is a statement's rows, column by column. Close it.
type ColumnCursor struct{ handle uint32 }

// Query runs a statement in text, such as SQL. Parameters stand as the database writes them: $1, ?, :name.
func Query(statement string, parameters ...Value) (*Cursor, error) {
	handle, err := query(0, statement, parameters, encodingRows)
	return &Cursor{handle}, err
}

// QueryColumns runs a statement as Query does; its rows come column by column.
func QueryColumns(statement string, parameters ...Value) (*ColumnCursor, error) {
	handle, err := query(0, statement, parameters, encodingColumns)
	return &ColumnCursor{handle}, err
}

// QueryDocument runs a query document in extended JSON.
func QueryDocument(json string) (*Cursor, error) {
	handle, err := query(2, json, nil, encodingRows)
	return &Cursor{handle}, err
}

// QueryCommand runs a command and its arguments.
func QueryCommand(parts ...Value) (*Cursor, error) {
	var out outgoing
	defer out.free()
	list := out.block(sizeList)
	if err := out.values(list, 0, parts); err != nil {
		return nil, err
	}
	handle, err := run(&out, 1, list, nil, encodingRows)
	return &Cursor{handle}, err
}

func query(kind uint32, statement string, parameters []Value, encoding uint32) (uint32, error) {
	var out outgoing
	defer out.free()
	text := out.block(sizeList)
	out.text(text, 0, statement)
	return run(&out, kind, text, parameters, encoding)
}

func run(out *outgoing, kind uint32, statement memory, parameters []Value, encoding uint32) (uint32, error) {
	values, result := out.block(sizeList), out.block(sizeResult)
	if err := out.values(values, 0, parameters); err != nil {
		return 0, err
	}
	word := func(m memory, place int) uint32 { return at(m.address() + uint32(place)).u32() }
	controls().mayGrow = 1
	importQuery(kind, word(statement, 0), word(statement, 4), word(values, 0), word(values, 4), encoding,
		unsafe.Pointer(&result[0]))
	arrived()
	defer read()
	if answer := at(result.address()); answer.u8() != 0 {
		return 0, (answer + 4).failure()
	} else {
		return (answer + 4).u32(), nil
	}
}

// Next is the next batch; nil at the end.
func (c *Cursor) Next() (*Rows, error) { return next(c.handle, encodingRows, at.rows) }

// Close ends the statement.
func (c *Cursor) Close() { importDrop(c.handle) }

// Next is the next batch; nil at the end.
func (c *ColumnCursor) Next() (*Columns, error) { return next(c.handle, encodingColumns, at.columns) }

// Close ends the statement.
func (c *ColumnCursor) Close() { importDrop(c.handle) }

// next asks a cursor for its next batch, which lies at an address in the encoding that was asked for.
func next[T any](handle uint32, encoding uint8, decode func(at) T) (*T, error) {
	var out outgoing
	defer out.free()
	result := out.block(sizeResult)
	controls().mayGrow = 1
	importNext(handle, unsafe.Pointer(&result[0]))
	arrived()
	defer read()
	answer := at(result.address())
	if answer.u8() != 0 {
		return nil, (answer + 4).failure()
	}
	if (answer + 4).u8() == 0 {
		return nil, nil
	}
	if (answer + 8).u8() != encoding {
		return nil, &Failure{Kind: "protocol", Message: "The hub answered in another encoding than was asked for"}
	}
	batch := decode(answer + 12)
	return &batch, nil
}

// Level is a level of the hub's log.
type Level uint32

// The levels of the hub's log.
const (
	LevelError Level = iota
	LevelWarn
	LevelInfo
	LevelDebug
	LevelTrace
)

// Log writes a line into the hub's log. Never values of cells, never secrets.
func Log(level Level, message string) {
	var out outgoing
	defer out.free()
	text := out.block(sizeList)
	out.text(text, 0, message)
	importLog(uint32(level), at(text.address()).u32(), uint32(len(message)))
}

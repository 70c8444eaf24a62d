package hub

import (
	"fmt"
	"reflect"
)

// Columns are rows to yield, one list a column: the fast way. Every batch of a run has the same fields.
type Columns struct {
	Fields  []Field
	Columns []Column
}

// Column is the values of one column, and which of them are there.
type Column struct {
	// Values is []bool, []int64, []uint64, []float64, []Date, []Time, []Timestamp or []Instant by the field's type, and
	// *Flat for decimals, texts, bytes and JSON. A null has any value in its place; an empty one in a Flat.
	Values any
	// Valid has a byte a value: 1 is there, 0 is null. Nil: all are there.
	Valid []byte
}

// Flat is texts or bytes in one piece: value i lies from offset i up to offset i + 1.
type Flat struct {
	Offsets []int32
	Data    []byte
}

// NewFlat has no values, and room for so many of so many bytes together.
func NewFlat(values, bytes int) *Flat {
	return &Flat{Offsets: append(make([]int32, 0, values+1), 0), Data: make([]byte, 0, bytes)}
}

// Append appends a value. All of a Flat have less than 2 GiB together.
func (f *Flat) Append(value string) {
	f.Data = append(f.Data, value...)
	f.Offsets = append(f.Offsets, int32(len(f.Data)))
}

// Len is how many values there are.
func (f *Flat) Len() int { return max(len(f.Offsets), 1) - 1 }

// At is a value's bytes, as text or not.
func (f *Flat) At(row int) string { return string(f.Data[f.Offsets[row]:f.Offsets[row+1]]) }

// Len is how many rows there are.
func (c *Columns) Len() int {
	if len(c.Columns) == 0 {
		return 0
	}
	return c.Columns[0].Len()
}

// Column is the column of a name.
func (c *Columns) Column(name string) (*Column, error) {
	for i, field := range c.Fields {
		if field.Name == name {
			return &c.Columns[i], nil
		}
	}
	return nil, &Failure{Kind: "schema-mismatch", Message: "The statement has no column `" + name + "`"}
}

// Len is how many values there are, nulls among them.
func (c *Column) Len() int {
	if flat, ok := c.Values.(*Flat); ok {
		return flat.Len()
	}
	// Whatever else it holds is a list; a value of another kind is refused when the batch is handed over.
	if values := reflect.ValueOf(c.Values); values.Kind() == reflect.Slice {
		return values.Len()
	}
	return 0
}

// IsNull says whether a value is null.
func (c *Column) IsNull(row int) bool { return c.Valid != nil && c.Valid[row] == 0 }

// ValuesOf are a column's values, where they are of the type that is asked for.
func ValuesOf[T any](columns *Columns, name string) (T, error) {
	var none T
	column, err := columns.Column(name)
	if err != nil {
		return none, err
	}
	if values, ok := column.Values.(T); ok {
		return values, nil
	}
	message := fmt.Sprintf("Column `%s` holds %T and not %T", name, column.Values, none)
	return none, &Failure{Kind: "schema-mismatch", Message: message}
}

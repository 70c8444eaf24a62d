package hub

import (
	"fmt"
	"unsafe"
)

// Columns in memory, by the canonical ABI of the component model. Their values are handed over where they are.
const (
	sizeColumn    = 32
	placeValidity = 20
)

// numbers hands over a list where it is.
func numbers[T any](o *outgoing, m memory, at int, values []T) {
	if len(values) == 0 {
		// Any address of memory does for nothing.
		o.list(m, at, m.address(), 0)
		return
	}
	o.pinner.Pin(&values[0])
	o.list(m, at, uint32(uintptr(unsafe.Pointer(&values[0]))), len(values))
}

// listOf is a type whose values are handed over, and taken, as a list of them.
type listOf[T any] struct{}

func (listOf[T]) give(o *outgoing, m memory, at int, values any) bool {
	list, fits := values.([]T)
	if fits {
		numbers(o, m, at, list)
	}
	return fits
}

func (listOf[T]) take(a at) any { return copies[T](a) }

// lists are the types whose values are such lists, by tag. All others have a Flat.
var lists = map[uint8]interface {
	give(o *outgoing, m memory, at int, values any) bool
	take(a at) any
}{
	TypeBoolean.tag:   listOf[bool]{},
	TypeSigned.tag:    listOf[int64]{},
	TypeUnsigned.tag:  listOf[uint64]{},
	TypeFloat.tag:     listOf[float64]{},
	TypeDate.tag:      listOf[Date]{},
	TypeTime.tag:      listOf[Time]{},
	TypeTimestamp.tag: listOf[Timestamp]{},
	TypeInstant.tag:   listOf[Instant]{},
}

// giveFlat hands over texts or bytes.
func giveFlat(o *outgoing, m memory, at int, values any) bool {
	flat, fits := values.(*Flat)
	if fits {
		numbers(o, m, at, flat.Offsets)
		numbers(o, m, at+8, flat.Data)
	}
	return fits
}

// column writes a column's values and validity.
func (o *outgoing) column(m memory, at int, field Field, column Column) error {
	m.u8(at, field.Type.tag)
	give := giveFlat
	if list, found := lists[field.Type.tag]; found {
		give = list.give
	}
	if !give(o, m, at+4, column.Values) {
		return fmt.Errorf("column `%s` has a %T, and its type takes another", field.Name, column.Values)
	}
	if column.Valid != nil {
		m.u8(at+placeValidity, 1)
		numbers(o, m, at+placeValidity+4, column.Valid)
	}
	return nil
}

// columns writes a column-batch.
func (o *outgoing) columns(m memory, at int, columns Columns) error {
	if len(columns.Fields) != len(columns.Columns) {
		return fmt.Errorf("a batch has %d fields and %d columns", len(columns.Fields), len(columns.Columns))
	}
	o.fields(m, at, columns.Fields)
	m.u32(at+8, uint32(columns.Len()))
	block := o.block(len(columns.Columns) * sizeColumn)
	for i, column := range columns.Columns {
		if err := o.column(block, i*sizeColumn, columns.Fields[i], column); err != nil {
			return err
		}
	}
	o.list(m, at+12, block.address(), len(columns.Columns))
	return nil
}

// copies is a list of numbers.
func copies[T any](a at) []T {
	length := int((a + 4).u32())
	values := make([]T, length)
	if length > 0 {
		copy(values, unsafe.Slice((*T)(at(a.u32()).pointer()), length))
	}
	return values
}

func (a at) column() Column {
	column, payload := Column{}, a+4
	if list, found := lists[a.u8()]; found {
		column.Values = list.take(payload)
	} else {
		column.Values = &Flat{Offsets: copies[int32](payload), Data: copies[byte](payload + 8)}
	}
	if (a + placeValidity).u8() != 0 {
		column.Valid = copies[byte](a + placeValidity + 4)
	}
	return column
}

func (a at) columns() Columns {
	first, count := at((a + 12).u32()), int((a + 16).u32())
	columns := Columns{Fields: a.fields(), Columns: make([]Column, count)}
	for i := range columns.Columns {
		columns.Columns[i] = (first + at(i*sizeColumn)).column()
	}
	return columns
}

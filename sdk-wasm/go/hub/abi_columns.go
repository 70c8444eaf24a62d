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

// isFlat says whether the values of a type are texts or bytes: decimals, texts, bytes, JSON.
func isFlat(tag uint8) bool { return tag == 4 || tag == 5 || tag == 6 || tag == 11 }

// numbers hands over a list where it is.
func numbers[T any](o *outgoing, m memory, at int, values []T) {
	if len(values) == 0 {
		o.list(m, at, m.address(), 0)
		return
	}
	o.pinner.Pin(&values[0])
	o.list(m, at, uint32(uintptr(unsafe.Pointer(&values[0]))), len(values))
}

// column writes a column's values and validity.
func (o *outgoing) column(m memory, at int, field Field, column Column) error {
	m.u8(at, field.Type.tag)
	payload := at + 4
	var tag uint8
	switch values := column.Values.(type) {
	case []bool:
		numbers(o, m, payload, values)
	case []int64:
		tag = TypeSigned.tag
		numbers(o, m, payload, values)
	case []uint64:
		tag = TypeUnsigned.tag
		numbers(o, m, payload, values)
	case []float64:
		tag = TypeFloat.tag
		numbers(o, m, payload, values)
	case []Date:
		tag = TypeDate.tag
		numbers(o, m, payload, values)
	case []Time:
		tag = TypeTime.tag
		numbers(o, m, payload, values)
	case []Timestamp:
		tag = TypeTimestamp.tag
		numbers(o, m, payload, values)
	case []Instant:
		tag = TypeInstant.tag
		numbers(o, m, payload, values)
	case *Flat:
		tag = field.Type.tag
		if !isFlat(tag) {
			return fmt.Errorf("column `%s` has a Flat, and its type is none of texts or bytes", field.Name)
		}
		numbers(o, m, payload, values.Offsets)
		numbers(o, m, payload+8, values.Data)
	default:
		return fmt.Errorf("column `%s` has a %T, which is no list of values", field.Name, column.Values)
	}
	if tag != field.Type.tag {
		return fmt.Errorf("column `%s` has a %T, and its type is another", field.Name, column.Values)
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
	switch tag := a.u8(); {
	case isFlat(tag):
		column.Values = &Flat{Offsets: copies[int32](payload), Data: copies[byte](payload + 8)}
	case tag == TypeBoolean.tag:
		column.Values = copies[bool](payload)
	case tag == TypeSigned.tag:
		column.Values = copies[int64](payload)
	case tag == TypeUnsigned.tag:
		column.Values = copies[uint64](payload)
	case tag == TypeFloat.tag:
		column.Values = copies[float64](payload)
	case tag == TypeDate.tag:
		column.Values = copies[Date](payload)
	case tag == TypeTime.tag:
		column.Values = copies[Time](payload)
	case tag == TypeTimestamp.tag:
		column.Values = copies[Timestamp](payload)
	case tag == TypeInstant.tag:
		column.Values = copies[Instant](payload)
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

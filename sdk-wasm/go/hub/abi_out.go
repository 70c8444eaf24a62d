package hub

import (
	"fmt"
	"math"
	"runtime"
	"unsafe"
)

// Sizes and places of the contract's types in memory, by the canonical ABI of the component model.
const (
	sizeValue   = 16
	sizeField   = 20
	sizeList    = 8
	sizeFailure = 32
	sizeResult  = 36
)

// outgoing is memory that the host reads: addresses are taken of it, so it must neither move nor go.
type outgoing struct{ pinner runtime.Pinner }

func (o *outgoing) free() { o.pinner.Unpin() }

// block is zeroed memory, aligned to 8 bytes.
func (o *outgoing) block(size int) memory {
	words := make([]uint64, (size+7)/8+1)
	o.pinner.Pin(&words[0])
	return memory(unsafe.Slice((*byte)(unsafe.Pointer(&words[0])), len(words)*8))
}

type memory []byte

func (m memory) address() uint32        { return uint32(uintptr(unsafe.Pointer(&m[0]))) }
func (m memory) u8(at int, value uint8) { m[at] = value }
func (m memory) u32(at int, value uint32) {
	*(*uint32)(unsafe.Pointer(&m[at])) = value
}
func (m memory) u64(at int, value uint64) {
	*(*uint64)(unsafe.Pointer(&m[at])) = value
}

func (o *outgoing) list(m memory, at int, address uint32, length int) {
	m.u32(at, address)
	m.u32(at+4, uint32(length))
}

func (o *outgoing) text(m memory, at int, value string) {
	// The bytes of a string are never written to, here or by the host.
	numbers(o, m, at, unsafe.Slice(unsafe.StringData(value), len(value)))
}

func (o *outgoing) value(m memory, at int, value Value) error {
	set := func(tag uint8, bits uint64) {
		m.u8(at, tag)
		m.u64(at+8, bits)
	}
	switch value := value.(type) {
	case nil:
		m.u8(at, valueNull)
	case bool:
		bit := uint64(0)
		if value {
			bit = 1
		}
		set(valueBoolean, bit)
	case int64:
		set(valueSigned, uint64(value))
	case uint64:
		set(valueUnsigned, value)
	case float64:
		set(valueFloat, math.Float64bits(value))
	case Decimal:
		m.u8(at, valueDecimal)
		o.text(m, at+8, string(value))
	case string:
		m.u8(at, valueText)
		o.text(m, at+8, value)
	case []byte:
		m.u8(at, valueBytes)
		numbers(o, m, at+8, value)
	case Date:
		set(valueDate, uint64(uint32(value)))
	case Time:
		set(valueTime, uint64(value))
	case Timestamp:
		set(valueTimestamp, uint64(value))
	case Instant:
		set(valueInstant, uint64(value))
	case JSON:
		m.u8(at, valueJSON)
		o.text(m, at+8, string(value))
	default:
		return fmt.Errorf("a %T is no value of a row", value)
	}
	return nil
}

func (o *outgoing) values(m memory, at int, values []Value) error {
	block := o.block(len(values) * sizeValue)
	for i, value := range values {
		if err := o.value(block, i*sizeValue, value); err != nil {
			return err
		}
	}
	o.list(m, at, block.address(), len(values))
	return nil
}

func (o *outgoing) fields(m memory, at int, list []Field) {
	fields := o.block(len(list) * sizeField)
	for i, field := range list {
		place := i * sizeField
		o.text(fields, place, field.Name)
		fields.u8(place+8, field.Type.tag)
		fields.u8(place+9, field.Type.precision)
		fields.u8(place+10, field.Type.scale)
		if !field.NotNull && field.Key == 0 {
			fields.u8(place+11, 1)
		}
		if field.Key > 0 {
			fields.u8(place+12, 1)
			fields.u32(place+16, field.Key-1)
		}
	}
	o.list(m, at, fields.address(), len(list))
}

// rows writes a row-batch.
func (o *outgoing) rows(m memory, at int, rows Rows) error {
	o.fields(m, at, rows.Fields)
	lists := o.block(len(rows.Rows) * sizeList)
	for i, row := range rows.Rows {
		if err := o.values(lists, i*sizeList, row); err != nil {
			return fmt.Errorf("row %d of a batch: %w", i, err)
		}
	}
	o.list(m, at+8, lists.address(), len(rows.Rows))
	return nil
}

func (o *outgoing) failure(m memory, at int, failure *Failure) {
	o.text(m, at, failure.Kind)
	o.text(m, at+8, failure.Message)
	if failure.Hint != "" {
		m.u8(at+16, 1)
		o.text(m, at+20, failure.Hint)
	}
	if failure.Retryable {
		m.u8(at+28, 1)
	}
}

package hub

import (
	"math"
	"unsafe"
)

// at is an address that the host gave.
type at uint32

func (a at) pointer() unsafe.Pointer {
	address := uintptr(a)
	// Past vet's eyes: the address is one of this machine's memory, and stays where it is.
	return *(*unsafe.Pointer)(unsafe.Pointer(&address))
}
func (a at) slice(length int) []byte { return unsafe.Slice((*byte)(a.pointer()), length) }
func (a at) u8() uint8               { return *(*uint8)(a.pointer()) }
func (a at) u32() uint32             { return *(*uint32)(a.pointer()) }
func (a at) u64() uint64             { return *(*uint64)(a.pointer()) }

// copied is a list of bytes or a string.
func (a at) copied() []byte {
	length := int((a + 4).u32())
	if length == 0 {
		return []byte{}
	}
	return append([]byte(nil), at(a.u32()).slice(length)...)
}
func (a at) text() string { return string(a.copied()) }

func (a at) value() Value {
	payload := a + 8
	switch a.u8() {
	case valueBoolean:
		return payload.u8() != 0
	case valueSigned:
		return int64(payload.u64())
	case valueUnsigned:
		return payload.u64()
	case valueFloat:
		return math.Float64frombits(payload.u64())
	case valueDecimal:
		return Decimal(payload.text())
	case valueText:
		return payload.text()
	case valueBytes:
		return payload.copied()
	case valueDate:
		return Date(int32(payload.u32()))
	case valueTime:
		return Time(payload.u64())
	case valueTimestamp:
		return Timestamp(payload.u64())
	case valueInstant:
		return Instant(payload.u64())
	case valueJSON:
		return JSON(payload.text())
	}
	return nil
}

func (a at) values() []Value {
	first, length := at(a.u32()), int((a + 4).u32())
	values := make([]Value, length)
	for i := range values {
		values[i] = (first + at(i*sizeValue)).value()
	}
	return values
}

func (a at) fields() []Field {
	first, count := at(a.u32()), int((a + 4).u32())
	fields := make([]Field, count)
	for i := range fields {
		field := first + at(i*sizeField)
		fields[i] = Field{
			Name:    field.text(),
			Type:    Type{(field + 8).u8(), (field + 9).u8(), (field + 10).u8()},
			NotNull: (field + 11).u8() == 0,
		}
		if (field + 12).u8() != 0 {
			fields[i].Key = (field + 16).u32() + 1
		}
	}
	return fields
}

func (a at) rows() Rows {
	lists, length := at((a + 8).u32()), int((a + 12).u32())
	rows := Rows{Fields: a.fields(), Rows: make([][]Value, length)}
	for i := range rows.Rows {
		rows.Rows[i] = (lists + at(i*sizeList)).values()
	}
	return rows
}

func (a at) failure() *Failure {
	failure := &Failure{Kind: a.text(), Message: (a + 8).text(), Retryable: (a + 28).u8() != 0}
	if (a + 16).u8() != 0 {
		failure.Hint = (a + 20).text()
	}
	return failure
}

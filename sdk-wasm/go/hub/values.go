package hub

// Value is one of nil, bool, int64, uint64, float64, Decimal, string, []byte, Date, Time, Timestamp, Instant, JSON.
type Value any

type (
	// Decimal is digits with an optional sign and point: -12.50.
	Decimal string
	// Date is days since 1970-01-01.
	Date int32
	// Time is microseconds since midnight.
	Time int64
	// Timestamp is microseconds since 1970-01-01 00:00:00, without a zone.
	Timestamp int64
	// Instant is microseconds since 1970-01-01 00:00:00 UTC.
	Instant int64
	// JSON is JSON text.
	JSON string
)

// Type is what the values of a column are.
type Type struct{ tag, precision, scale uint8 }

// The types of columns.
var (
	TypeBoolean   = Type{tag: 0}
	TypeSigned    = Type{tag: 1}
	TypeUnsigned  = Type{tag: 2}
	TypeFloat     = Type{tag: 3}
	TypeText      = Type{tag: 5}
	TypeBytes     = Type{tag: 6}
	TypeDate      = Type{tag: 7}
	TypeTime      = Type{tag: 8}
	TypeTimestamp = Type{tag: 9}
	TypeInstant   = Type{tag: 10}
	TypeJSON      = Type{tag: 11}
)

// TypeDecimal has all digits, and those behind the point: 0 <= scale <= precision <= 76.
func TypeDecimal(precision, scale uint8) Type { return Type{4, precision, scale} }

// Field is a column.
type Field struct {
	Name string
	Type Type
	// NotNull says that no value is nil.
	NotNull bool
	// Key is the column's place in the key, from 1; zero means that it is in none.
	Key uint32
}

const (
	valueNull = iota
	valueBoolean
	valueSigned
	valueUnsigned
	valueFloat
	valueDecimal
	valueText
	valueBytes
	valueDate
	valueTime
	valueTimestamp
	valueInstant
	valueJSON
)

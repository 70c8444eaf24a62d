// Package hub is for custom functions of Connector Hub in Go.
//
// A function queries the connection that it belongs to, and yields batches of rows with positions. A module registers
// one in its init, and is built by `go run connector-hub/guest/cmd/build`.
package hub

import "errors"

// Function yields the rows of one stream. Calls come one after another.
type Function interface {
	// Next is the next event: Rows, Columns, Boundary or End.
	Next() (Event, error)
}

// Definition is what a module registers.
type Definition struct {
	// PositionVersion is raised when the shape of the positions changes. Zero means 1.
	PositionVersion uint32
	// Open is called once, first. The arguments are the JSON object that the user gave; the position is the JSON of an
	// earlier Boundary, or nil.
	Open func(arguments, position []byte) (Function, error)
}

// Event is what a function hands over.
type Event interface{ isEvent() }

// Rows are rows to yield: values in the order of the fields. Every batch of a run has the same fields.
type Rows struct {
	Fields []Field
	Rows   [][]Value
}

// Boundary says that all before it may become visible together. With a position, which becomes a JSON object, a later
// run resumes exactly there.
type Boundary struct{ Position any }

// End says that there is nothing more.
type End struct{}

func (Rows) isEvent()     {}
func (Columns) isEvent()  {}
func (Boundary) isEvent() {}
func (End) isEvent()      {}

// Failure is an error in the hub's terms. Any other error becomes one of kind invalid-data.
type Failure struct {
	// Kind is one of the hub's: invalid-config, invalid-data, not-found, unavailable ...
	Kind string
	// Message is one sentence: starts with a capital, no final period.
	Message string
	// Hint says what to do about it.
	Hint string
	// Retryable says that the same work may succeed when it is tried again.
	Retryable bool
}

func (f *Failure) Error() string { return f.Message }

func failureOf(err error) *Failure {
	var failure *Failure
	if errors.As(err, &failure) {
		return failure
	}
	return &Failure{Kind: "invalid-data", Message: "The function failed: " + err.Error()}
}

var registered Definition

// Register names the module's function. Call it once, in an init.
func Register(definition Definition) { registered = definition }

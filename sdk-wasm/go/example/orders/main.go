// Orders reads orders page by page, and yields what each of them costs.
//
// Arguments: `statement` reads one page; its first parameter is the last id that was seen, the second how many rows a
// page has. `page_rows`: default 500. `encoding`: how the rows come and go, `rows` (default) or `columns`. In PostgreSQL
// and SQLite:
//
//	select id, customer, quantity, cents, discount from orders where id > $1 order by id limit $2
package main

import (
	"encoding/json"
	"fmt"
	"math"
	"math/bits"

	"connector-hub/guest/hub"
)

type orders struct {
	Statement string
	PageRows  int64 `json:"page_rows"`
	Encoding  string
	last      int64
	// Whether a page was yielded whose boundary is still to come.
	pageIsOpen bool
}

type position struct {
	Last int64 `json:"last"`
}

var fields = []hub.Field{
	{Name: "id", Type: hub.TypeSigned, Key: 1},
	{Name: "customer", Type: hub.TypeText},
	{Name: "total_cents", Type: hub.TypeSigned, NotNull: true},
	{Name: "net_cents", Type: hub.TypeFloat, NotNull: true},
	{Name: "label", Type: hub.TypeText, NotNull: true},
}

func init() { hub.Register(hub.Definition{Open: open}) }

func open(arguments, resumed []byte) (hub.Function, error) {
	at := position{Last: math.MinInt64}
	function := &orders{PageRows: 500}
	if err := json.Unmarshal(arguments, function); err != nil {
		return nil, &hub.Failure{Kind: "invalid-config", Message: "The arguments cannot be read: " + err.Error()}
	}
	if function.PageRows < 1 {
		return nil, &hub.Failure{
			Kind: "invalid-config", Message: "A page needs at least one row", Hint: "Set `page_rows`",
		}
	}
	if resumed != nil {
		if err := json.Unmarshal(resumed, &at); err != nil {
			return nil, &hub.Failure{Kind: "position-lost", Message: "The position cannot be read: " + err.Error()}
		}
	}
	function.last = at.Last
	return function, nil
}

func (o *orders) Next() (hub.Event, error) {
	if o.pageIsOpen {
		o.pageIsOpen = false
		return hub.Boundary{Position: position{o.last}}, nil
	}
	var page hub.Event
	var err error
	if o.Encoding == "columns" {
		page, err = o.byColumns()
	} else {
		page, err = o.byRows()
	}
	if err != nil {
		return nil, err
	}
	_, isOver := page.(hub.End)
	o.pageIsOpen = !isOver
	return page, nil
}

// cost is what one order costs.
func cost(id, quantity, cents int64, discount float64) (total int64, net float64, err error) {
	total, fits := multiply(quantity, cents)
	if !fits {
		message := fmt.Sprintf("The total of order %d is above 2^63 - 1 cents", id)
		return 0, 0, &hub.Failure{Kind: "invalid-data", Message: message}
	}
	return total, float64(total) * (1 - discount), nil
}

// multiply answers whether the product fits into 64 bits.
func multiply(a, b int64) (int64, bool) {
	absolute := func(value int64) uint64 {
		if value < 0 {
			return -uint64(value)
		}
		return uint64(value)
	}
	high, low := bits.Mul64(absolute(a), absolute(b))
	limit := uint64(math.MaxInt64)
	if (a < 0) != (b < 0) {
		limit++
	}
	return a * b, high == 0 && low <= limit
}

// upper changes letters of ASCII only, as databases differ in the others.
func upper(text string) string {
	letters := []byte(text)
	for i, letter := range letters {
		if 'a' <= letter && letter <= 'z' {
			letters[i] = letter - 'a' + 'A'
		}
	}
	return string(letters)
}

func main() {}

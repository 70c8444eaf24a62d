package main

import (
	"fmt"
	"slices"

	"connector-hub/guest/hub"
)

// byRows is a page value by value, or the end.
func (o *orders) byRows() (hub.Event, error) {
	cursor, err := hub.Query(o.Statement, o.last, o.PageRows)
	if err != nil {
		return nil, err
	}
	defer cursor.Close()
	page := hub.Rows{Fields: fields}
	for {
		batch, err := cursor.Next()
		if err != nil {
			return nil, err
		}
		if batch == nil {
			break
		}
		if err := o.appendRows(batch, &page); err != nil {
			return nil, err
		}
	}
	if len(page.Rows) == 0 {
		return hub.End{}, nil
	}
	return page, nil
}

// appendRows appends what the orders of a batch cost.
func (o *orders) appendRows(batch, page *hub.Rows) error {
	var at [5]int
	for i, name := range []string{"id", "customer", "quantity", "cents", "discount"} {
		at[i] = slices.IndexFunc(batch.Fields, func(field hub.Field) bool { return field.Name == name })
		if at[i] < 0 {
			return &hub.Failure{Kind: "schema-mismatch", Message: "The statement has no column `" + name + "`"}
		}
	}
	for _, row := range batch.Rows {
		id, fits1 := row[at[0]].(int64)
		quantity, fits2 := row[at[2]].(int64)
		cents, fits3 := row[at[3]].(int64)
		discount, fits4 := row[at[4]].(float64)
		name, hasName := row[at[1]].(string)
		if !fits1 || !fits2 || !fits3 || !fits4 || (!hasName && row[at[1]] != nil) {
			return &hub.Failure{Kind: "schema-mismatch", Message: "A column of an order holds a value of another type"}
		}
		total, net, err := cost(id, quantity, cents, discount)
		if err != nil {
			return err
		}
		var customer hub.Value
		label := "unknown"
		if hasName {
			customer, label = upper(name), name
		}
		page.Rows = append(page.Rows, []hub.Value{id, customer, total, net, fmt.Sprintf("%s #%d", label, id)})
		o.last = id
	}
	return nil
}

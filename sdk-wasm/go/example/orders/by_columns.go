package main

import (
	"errors"
	"fmt"

	"connector-hub/guest/hub"
)

// costs is a page column by column.
type costs struct {
	ids, totals       []int64
	nets              []float64
	customers, labels *hub.Flat
	// hasCustomer has a byte a row: 1 where there is one.
	hasCustomer []byte
}

// byColumns is a page column by column, or the end.
func (o *orders) byColumns() (hub.Event, error) {
	cursor, err := hub.QueryColumns(o.Statement, o.last, o.PageRows)
	if err != nil {
		return nil, err
	}
	defer cursor.Close()
	page := costs{customers: hub.NewFlat(0, 0), labels: hub.NewFlat(0, 0)}
	for {
		batch, err := cursor.Next()
		if err != nil {
			return nil, err
		}
		if batch == nil {
			break
		}
		if err := page.add(batch); err != nil {
			return nil, err
		}
	}
	if len(page.ids) == 0 {
		return hub.End{}, nil
	}
	o.last = page.ids[len(page.ids)-1]
	return hub.Columns{Fields: fields, Columns: []hub.Column{
		{Values: page.ids},
		{Values: page.customers, Valid: page.hasCustomer},
		{Values: page.totals},
		{Values: page.nets},
		{Values: page.labels},
	}}, nil
}

// add appends what the orders of a batch cost.
func (c *costs) add(batch *hub.Columns) error {
	ids, err1 := hub.ValuesOf[[]int64](batch, "id")
	quantities, err2 := hub.ValuesOf[[]int64](batch, "quantity")
	cents, err3 := hub.ValuesOf[[]int64](batch, "cents")
	discounts, err4 := hub.ValuesOf[[]float64](batch, "discount")
	names, err5 := hub.ValuesOf[*hub.Flat](batch, "customer")
	customer, err6 := batch.Column("customer")
	if err := errors.Join(err1, err2, err3, err4, err5, err6); err != nil {
		return err
	}
	for row, id := range ids {
		total, net, err := cost(id, quantities[row], cents[row], discounts[row])
		if err != nil {
			return err
		}
		name, label, there := "", "unknown", byte(0)
		if !customer.IsNull(row) {
			name, there = names.At(row), 1
			label = name
		}
		c.ids, c.totals, c.nets = append(c.ids, id), append(c.totals, total), append(c.nets, net)
		c.hasCustomer = append(c.hasCustomer, there)
		c.customers.Append(upper(name))
		c.labels.Append(fmt.Sprintf("%s #%d", label, id))
	}
	return nil
}

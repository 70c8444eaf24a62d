// Lines is the shortest form of a custom function: a program that reads its arguments as JSON from standard input, and
// prints one JSON object a line. It has no connection and no positions.
//
// Arguments: `rows`, how many lines to print.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"

	_ "connector-hub/guest/adapter"
)

func main() {
	var arguments struct{ Rows int64 }
	if err := json.NewDecoder(os.Stdin).Decode(&arguments); err != nil {
		fmt.Fprintln(os.Stderr, "The arguments cannot be read:", err)
		os.Exit(1)
	}
	out := bufio.NewWriter(os.Stdout)
	defer out.Flush()
	lines := json.NewEncoder(out)
	for i := range arguments.Rows {
		line := map[string]any{"id": i, "square": i * i, "half": float64(i) / 2, "name": fmt.Sprintf("row %d", i)}
		if i%10 == 0 {
			line["name"] = nil
		}
		if err := lines.Encode(line); err != nil {
			fmt.Fprintln(os.Stderr, "A line cannot be printed:", err)
			os.Exit(1)
		}
	}
}

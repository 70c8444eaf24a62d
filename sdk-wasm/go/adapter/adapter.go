// Package adapter is for programs that print lines: import it for its effect.
//
//	import _ "connector-hub/guest/adapter"
//
// The WASI adapter, which the hub puts around a program, needs memory before Go has started, and Go takes all memory to be
// its own alone. So it gets a place here, which cmd/build finds by its first two numbers.
package adapter

const (
	mark1 = 0x9d1f_6875_622d_6164
	mark2 = 0x6170_7465_72c3_a5e1
)

var memory = [3 * 64 << 10 / 8]uint64{mark1, mark2}

func init() {
	// Without a use it would not be in the module. The adapter has written over the numbers when this runs.
	memory[len(memory)-1] = 0
}

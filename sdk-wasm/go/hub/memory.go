package hub

import "unsafe"

// The host writes strings and lists into this machine's memory before Go code runs, or while Go waits for a call of its
// own. Go must not run then, as it would ask for the time, which is not allowed at that moment. So the function that
// hands out memory is no Go: cmd/build adds it to the module. It works on hostMemory, which it finds by its first two
// numbers, and on the control words at its end.
//
// Part 1 is for the WASI adapter, which the hub puts around a module and which starts before Go. Part 2 is for what the
// host writes: arguments and positions always, rows as far as they fit. For larger rows more is taken from the machine.

const (
	hostMark1    = 0x9d1f_6875_622d_6d65
	hostMark2    = 0x6d6f_7279_c3a5_e10b
	adapterBytes = 3 * 64 << 10
	valuesBytes  = 2 << 20
	controlBytes = 16
)

var hostMemory = [(adapterBytes + valuesBytes + controlBytes) / 8]uint64{hostMark1, hostMark2}

// control is what the function works on.
type control struct {
	// Where the next value goes, and the part of memory that it may go to.
	next, end, start uint32
	// Whether more memory may be taken: only where Go hears of it before it allocates.
	mayGrow uint32
}

func controls() *control {
	return (*control)(unsafe.Pointer(&hostMemory[(adapterBytes+valuesBytes)/8]))
}

func init() {
	start := uint32(uintptr(unsafe.Pointer(&hostMemory[adapterBytes/8])))
	*controls() = control{next: start, end: start + valuesBytes, start: start}
}

// Go takes the memory to be its own alone: it asks for more, and believes that what it gets begins where its last piece
// ended. Needs the linker's flag -checklinkname=0.

//go:linkname bloc runtime.bloc
var bloc uintptr

//go:linkname blocMax runtime.blocMax
var blocMax uintptr

//go:linkname currentMemory runtime.currentMemory
func currentMemory() int32

// arrived tells Go what memory the host's values took: to be called right behind a call of the host's.
func arrived() {
	const page = 64 << 10
	controls().mayGrow = 0
	if end := uintptr(currentMemory()) * page; end > blocMax {
		bloc, blocMax = end, end
	}
}

// read says that the host's values were copied: their memory is free for the next.
func read() { controls().next = controls().start }

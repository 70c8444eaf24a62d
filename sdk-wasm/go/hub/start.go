package hub

import _ "unsafe" // For go:linkname.

// Go takes the machine's memory to be its own alone: it asks for more, and believes that what it gets begins where its
// last piece ended. The WASI adapter takes 128 KiB of the same memory while Go starts. So after the start Go is told
// that its last piece ends where the memory ends now. Needs the linker's flag -checklinkname=0.

//go:linkname bloc runtime.bloc
var bloc uintptr

//go:linkname blocMax runtime.blocMax
var blocMax uintptr

//go:linkname currentMemory runtime.currentMemory
func currentMemory() int32

func init() {
	const page = 64 << 10
	end := uintptr(currentMemory()) * page
	bloc, blocMax = end, end
}

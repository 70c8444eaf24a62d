package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
)

// As hub/memory.go and adapter/adapter.go have them.
const (
	programMark1 = 0x9d1f_6875_622d_6164
	programMark2 = 0x6170_7465_72c3_a5e1

	hostMark1    = 0x9d1f_6875_622d_6d65
	hostMark2    = 0x6d6f_7279_c3a5_e10b
	adapterBytes = 3 * 64 << 10
	valuesBytes  = 2 << 20
)

// Places of the control words behind both parts of the memory.
const (
	controlNext = 4 * iota
	controlEnd
	controlStart
	controlMayGrow
)

// Parameters and variables of an allocator.
const (
	parameterOld = iota
	parameterOldSize
	parameterAlign
	parameterSize
	variablePlace
	variablePages
	variableGrown
)

const typeI32 = 0x7f

// addAllocators gives the module the functions by which the host and the WASI adapter ask for memory:
// `NAME(old, old size, align, size)`. They trap when there is none.
func (m *module) addAllocators() error {
	address, err := m.place(hostMark1, hostMark2, "connector-hub/guest/hub")
	if err != nil {
		return err
	}
	kind, err := m.addAdapterAllocator(address)
	if err != nil {
		return err
	}
	values := valuesAllocator(address + adapterBytes + valuesBytes)
	return errors.Join(
		m.addFunction("cabi_import_realloc", kind, values),
		m.addFunction("cabi_export_realloc", kind, values),
	)
}

// addProgramAllocator gives a program the function that the WASI adapter asks for memory.
func (m *module) addProgramAllocator() error {
	address, err := m.place(programMark1, programMark2, "connector-hub/guest/adapter")
	if err != nil {
		return err
	}
	_, err = m.addAdapterAllocator(address)
	return err
}

// addAdapterAllocator answers the number of the type that all these functions have.
func (m *module) addAdapterAllocator(address int64) (uint64, error) {
	kind, err := m.add(sectionType, []byte{0x60, 4, typeI32, typeI32, typeI32, typeI32, 1, typeI32})
	if err != nil {
		return 0, err
	}
	// Where the adapter's next piece begins.
	place := append(appendSigned([]byte{typeI32, 1, opNumber}, (address+15)&^15), opEnd)
	global, err := m.add(sectionGlobal, place)
	if err != nil {
		return 0, err
	}
	return kind, m.addFunction("cabi_realloc_adapter", kind, adapterAllocator(global, address+adapterBytes))
}

func (m *module) addFunction(name string, kind uint64, body code) error {
	imported, err := m.importedFunctions()
	if err != nil {
		return err
	}
	own, err := m.add(sectionFunction, binary.AppendUvarint(nil, kind))
	if err != nil {
		return err
	}
	export := append(append([]byte{byte(len(name))}, name...), 0)
	if _, err := m.add(sectionExport, binary.AppendUvarint(export, imported+own)); err != nil {
		return err
	}
	// Three variables of 32 bits, the instructions, the end.
	whole := append(append([]byte{1, 3, typeI32}, body...), opEnd)
	_, err = m.add(sectionCode, append(binary.AppendUvarint(nil, uint64(len(whole))), whole...))
	return err
}

// adapterAllocator hands out one piece behind the other, each aligned to 16 bytes.
func adapterAllocator(global uint64, end int64) code {
	var c code
	c.global(opGlobalGet, global)
	c.global(opGlobalGet, global)
	c.local(opLocalGet, parameterSize)
	c.op(opAdd)
	c.number(15)
	c.op(opAdd)
	c.number(-16)
	c.op(opAnd)
	c.global(opGlobalSet, global)
	c.global(opGlobalGet, global)
	c.number(end)
	c.op(opGreater)
	c.trapIf()
	return c
}

// valuesAllocator hands out one piece behind the other, from more memory where what there is does not do.
func valuesAllocator(control int64) code {
	var c code
	load := func(word int64) { c.number(0); c.memory(opLoad, control+word) }
	// place = (next + align - 1) & -align
	load(controlNext)
	c.local(opLocalGet, parameterAlign)
	c.op(opAdd)
	c.number(1)
	c.op(opSub)
	c.number(0)
	c.local(opLocalGet, parameterAlign)
	c.op(opSub)
	c.op(opAnd)
	c.local(opLocalSet, variablePlace)
	// if place + size > end
	c.local(opLocalGet, variablePlace)
	c.local(opLocalGet, parameterSize)
	c.op(opAdd)
	load(controlEnd)
	c.op(opGreater)
	c.op(opIf, noResult)
	{
		load(controlMayGrow)
		c.op(opIsZero)
		c.trapIf()
		// pages = twice what there was + what is needed; grown = memory.grow(pages)
		load(controlEnd)
		load(controlStart)
		c.op(opSub)
		c.number(15)
		c.op(opShiftRight)
		c.local(opLocalGet, parameterSize)
		c.number(0xffff)
		c.op(opAdd)
		c.number(16)
		c.op(opShiftRight)
		c.op(opAdd)
		c.local(opLocalTee, variablePages)
		c.op(opMemoryGrow, 0)
		c.local(opLocalTee, variableGrown)
		c.number(-1)
		c.op(opEqual)
		c.trapIf()
		// place = start = grown << 16; end = start + pages << 16
		c.local(opLocalGet, variableGrown)
		c.number(16)
		c.op(opShiftLeft)
		c.local(opLocalSet, variablePlace)
		c.number(0)
		c.local(opLocalGet, variablePlace)
		c.memory(opStore, control+controlStart)
		c.number(0)
		c.local(opLocalGet, variablePlace)
		c.local(opLocalGet, variablePages)
		c.number(16)
		c.op(opShiftLeft)
		c.op(opAdd)
		c.memory(opStore, control+controlEnd)
	}
	c.op(opEnd)
	// A piece that grows keeps its content.
	c.local(opLocalGet, parameterOldSize)
	c.op(opIf, noResult)
	c.local(opLocalGet, variablePlace)
	c.local(opLocalGet, parameterOld)
	c.local(opLocalGet, parameterOldSize)
	c.op(opBulk, bulkCopy, 0, 0)
	c.op(opEnd)
	// next = place + size
	c.number(0)
	c.local(opLocalGet, variablePlace)
	c.local(opLocalGet, parameterSize)
	c.op(opAdd)
	c.memory(opStore, control+controlNext)
	c.local(opLocalGet, variablePlace)
	return c
}

// place is the address of the memory that a package keeps, by its first two numbers.
func (m *module) place(mark1, mark2 uint64, pkg string) (int64, error) {
	missing := fmt.Errorf("the program does not import %s", pkg)
	found := m.find(sectionData)
	if found == nil {
		return 0, missing
	}
	marks := binary.LittleEndian.AppendUint64(nil, mark1)
	marks = binary.LittleEndian.AppendUint64(marks, mark2)
	rest := reader(found.content)
	for range rest.number() {
		if flags := rest.number(); flags != 0 || rest.byte() != opNumber {
			return 0, errBroken
		}
		address := rest.signed()
		if rest.byte() != opEnd {
			return 0, errBroken
		}
		if at := bytes.Index(rest.take(rest.number()), marks); at >= 0 {
			return address + int64(at), nil
		}
	}
	return 0, missing
}

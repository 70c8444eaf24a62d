package main

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Sections of a module by their number: the WebAssembly core specification 2.0, section 5.5.
const (
	sectionCustom   = 0
	sectionType     = 1
	sectionImport   = 2
	sectionFunction = 3
	sectionGlobal   = 6
	sectionExport   = 7
	sectionCode     = 10
	sectionData     = 11
)

const header = "\x00asm\x01\x00\x00\x00"

type section struct {
	id      byte
	content []byte
}

type module struct{ sections []section }

var errBroken = errors.New("the compiler made a module that cannot be read")

func parse(bytes []byte) (*module, error) {
	if len(bytes) < len(header) || string(bytes[:len(header)]) != header {
		return nil, errBroken
	}
	made := &module{}
	for rest := reader(bytes[len(header):]); len(rest) > 0; {
		id := rest.byte()
		content := rest.take(rest.number())
		if content == nil {
			return nil, errBroken
		}
		made.sections = append(made.sections, section{id, content})
	}
	return made, nil
}

func (m *module) encode() []byte {
	bytes := []byte(header)
	for _, section := range m.sections {
		bytes = append(bytes, section.id)
		bytes = binary.AppendUvarint(bytes, uint64(len(section.content)))
		bytes = append(bytes, section.content...)
	}
	return bytes
}

func (m *module) find(id byte) *section {
	for i := range m.sections {
		if m.sections[i].id == id {
			return &m.sections[i]
		}
	}
	return nil
}

func (m *module) addCustom(name string, content []byte) {
	named := append(binary.AppendUvarint(nil, uint64(len(name))), name...)
	m.sections = append(m.sections, section{sectionCustom, append(named, content...)})
}

// add appends an item to a section that is a list, and answers how many there were.
func (m *module) add(id byte, item []byte) (uint64, error) {
	found := m.find(id)
	if found == nil {
		return 0, fmt.Errorf("%w: it has no section %d", errBroken, id)
	}
	rest := reader(found.content)
	count := rest.number()
	content := binary.AppendUvarint(nil, count+1)
	content = append(content, rest...)
	found.content = append(content, item...)
	return count, nil
}

// importedFunctions counts what comes before the module's own in the list of functions. Go imports nothing else.
func (m *module) importedFunctions() (uint64, error) {
	found := m.find(sectionImport)
	if found == nil {
		return 0, nil
	}
	rest := reader(found.content)
	count := rest.number()
	for range count {
		rest.take(rest.number())
		rest.take(rest.number())
		if kind := rest.byte(); kind != 0 {
			return 0, fmt.Errorf("%w: it imports something that is no function", errBroken)
		}
		rest.number()
	}
	return count, nil
}

// reader is bytes that are read from the front. Behind the end everything is zero.
type reader []byte

func (r *reader) byte() byte {
	if taken := r.take(1); taken != nil {
		return taken[0]
	}
	return 0
}

func (r *reader) take(length uint64) []byte {
	if uint64(len(*r)) < length {
		*r = nil
		return nil
	}
	taken := (*r)[:length:length]
	*r = (*r)[length:]
	return taken
}

func (r *reader) number() uint64 {
	value, length := binary.Uvarint(*r)
	if length <= 0 {
		*r = nil
		return 0
	}
	*r = (*r)[length:]
	return value
}

// signed reads a number with a sign.
func (r *reader) signed() int64 {
	var value int64
	for shift := 0; shift < 64; shift += 7 {
		next := r.byte()
		value |= int64(next&0x7f) << shift
		if next&0x80 == 0 {
			if next&0x40 != 0 && shift+7 < 64 {
				value |= -1 << (shift + 7)
			}
			break
		}
	}
	return value
}

func appendSigned(bytes []byte, value int64) []byte {
	for {
		next := byte(value & 0x7f)
		value >>= 7
		if (value == 0 && next&0x40 == 0) || (value == -1 && next&0x40 != 0) {
			return append(bytes, next)
		}
		bytes = append(bytes, next|0x80)
	}
}

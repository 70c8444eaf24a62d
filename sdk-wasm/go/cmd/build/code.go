package main

import "encoding/binary"

// Instructions: the WebAssembly core specification 2.0, section 5.4.
const (
	opTrap       = 0x00
	opIf         = 0x04
	opEnd        = 0x0b
	opLocalGet   = 0x20
	opLocalSet   = 0x21
	opLocalTee   = 0x22
	opGlobalGet  = 0x23
	opGlobalSet  = 0x24
	opLoad       = 0x28
	opStore      = 0x36
	opMemoryGrow = 0x40
	opNumber     = 0x41
	opIsZero     = 0x45
	opEqual      = 0x46
	opGreater    = 0x4b
	opAdd        = 0x6a
	opSub        = 0x6b
	opAnd        = 0x71
	opShiftLeft  = 0x74
	opShiftRight = 0x76
	opBulk       = 0xfc

	bulkCopy  = 0x0a
	noResult  = 0x40
	alignment = 2
)

// code is instructions of 32 bits.
type code []byte

func (c *code) op(bytes ...byte) { *c = append(*c, bytes...) }

func (c *code) local(op byte, index byte) { c.op(op, index) }

func (c *code) global(op byte, index uint64) { *c = binary.AppendUvarint(append(*c, op), index) }

func (c *code) number(value int64) { *c = appendSigned(append(*c, opNumber), value) }

func (c *code) memory(op byte, offset int64) {
	*c = binary.AppendUvarint(append(*c, op, alignment), uint64(offset))
}

// trapIf ends the machine where what was computed last is not zero.
func (c *code) trapIf() { c.op(opIf, noResult, opTrap, opEnd) }

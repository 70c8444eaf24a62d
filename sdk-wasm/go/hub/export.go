package hub

import "encoding/json"

var (
	running Function
	// answer is what the last exported call returned: it is free at the next one.
	answer outgoing
)

//go:wasmexport connector-hub:plugin/reader@1.0.0#position-version
func positionVersion() uint32 { return max(registered.PositionVersion, 1) }

//go:wasmexport connector-hub:plugin/reader@1.0.0#open
func open(arguments, argumentsLength, hasPosition, position, positionLength uint32) uint32 {
	answer.free()
	result := answer.block(sizeResult)
	given := append([]byte(nil), at(arguments).slice(int(argumentsLength))...)
	var resumed []byte
	if hasPosition != 0 {
		resumed = append([]byte(nil), at(position).slice(int(positionLength))...)
	}
	read()
	function, err := registered.Open(given, resumed)
	if err != nil {
		return failed(result, err)
	}
	running = function
	return result.address()
}

//go:wasmexport connector-hub:plugin/reader@1.0.0#next
func nextEvent() uint32 {
	answer.free()
	result := answer.block(sizeResult)
	event, err := running.Next()
	if err != nil {
		return failed(result, err)
	}
	switch event := event.(type) {
	case Rows:
		// An event at 4, its batch at 8, of which the case `rows` is at 12.
		if err := answer.rows(result, 12, event); err != nil {
			return failed(result, err)
		}
	case Columns:
		result.u8(8, 1)
		if err := answer.columns(result, 12, event); err != nil {
			return failed(result, err)
		}
	case Boundary:
		result.u8(4, 1)
		if event.Position != nil {
			position, err := json.Marshal(event.Position)
			if err != nil {
				return failed(result, err)
			}
			result.u8(8, 1)
			numbers(&answer, result, 12, position)
		}
	case End:
		result.u8(4, 2)
	}
	return result.address()
}

func failed(result memory, err error) uint32 {
	clear(result)
	result.u8(0, 1)
	answer.failure(result, 4, failureOf(err))
	return result.address()
}

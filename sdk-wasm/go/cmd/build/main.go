// Build makes a custom function of a Go package:
//
//	go run connector-hub/guest/cmd/build -o OUT.wasm ./PACKAGE
//
// The result is a core module that carries the type of the component it wants to be; the hub wraps it. With -command it
// is a plain program that prints one JSON object a line.
package main

import (
	_ "embed"
	"flag"
	"fmt"
	"os"
	"os/exec"
)

// The world custom-function of the contract 1.0, encoded.
//
//go:embed component-type.bin
var componentType []byte

// The custom section that the hub looks for.
const typeSection = "component-type:custom-function"

func main() {
	out := flag.String("o", "function.wasm", "the module to write")
	command := flag.Bool("command", false, "build a program that prints one JSON object a line")
	flag.Parse()
	if flag.NArg() != 1 {
		fmt.Fprintln(os.Stderr, "Usage: build -o OUT.wasm [-command] PACKAGE")
		os.Exit(2)
	}
	if err := build(*out, flag.Arg(0), *command); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func build(out, pkg string, command bool) error {
	// What lies there already is not linked again when it is up to date, and what is added below would be there twice.
	if err := os.Remove(out); err != nil && !os.IsNotExist(err) {
		return err
	}
	arguments := []string{"build", "-o", out, "-ldflags=-s -w"}
	if !command {
		arguments = []string{"build", "-o", out, "-buildmode=c-shared", "-ldflags=-s -w -checklinkname=0"}
	}
	compile := exec.Command("go", append(arguments, pkg)...)
	compile.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm")
	compile.Stdout, compile.Stderr = os.Stdout, os.Stderr
	if err := compile.Run(); err != nil {
		return err
	}
	bytes, err := os.ReadFile(out)
	if err != nil {
		return err
	}
	module, err := parse(bytes)
	if err != nil {
		return err
	}
	if command {
		err = module.addProgramAllocator()
	} else {
		err = module.addAllocators()
		module.addCustom(typeSection, componentType)
	}
	if err != nil {
		return err
	}
	return os.WriteFile(out, module.encode(), 0o755)
}

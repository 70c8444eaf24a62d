#!/bin/sh
# Builds a function of one C file: build.sh FUNCTION.c OUT.wasm
# Needs clang 14 or newer, wasm-ld and wasi-libc (Debian: clang lld wasi-libc libclang-rt-14-dev-wasm32).
set -eu
here=$(cd "$(dirname "$0")" && pwd)
exec "${CLANG:-clang}" --target=wasm32-wasi ${WASI_FLAGS:---sysroot=/usr} -mexec-model=reactor -O2 -Wall -Wextra \
    -Wl,--strip-debug \
    -o "$2" "$1" "$here/hub_guest.c" "$here/generated/custom_function.c" \
    "$here/generated/custom_function_component_type.o"

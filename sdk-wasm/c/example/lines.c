// The shortest form of a custom function: a program that reads its arguments as JSON from standard input, and prints one
// JSON object a line. It has no connection and no positions.
//
// Arguments: `rows`, how many lines to print. Built by: clang --target=wasm32-wasi --sysroot=/usr -O2 -s lines.c -o lines.wasm

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(void) {
    char arguments[1024];
    size_t length = fread(arguments, 1, sizeof arguments - 1, stdin);
    arguments[length] = 0;
    const char *rows = strstr(arguments, "\"rows\":");
    if (!rows) {
        fprintf(stderr, "The argument `rows` is missing\n");
        return 1;
    }
    int64_t count = strtoll(rows + strlen("\"rows\":"), NULL, 10);
    for (int64_t i = 0; i < count; i++) {
        printf("{\"id\":%" PRId64 ",\"square\":%" PRId64 ",\"half\":%" PRId64 ".%c", i, i * i, i / 2, i % 2 ? '5' : '0');
        if (i % 10 == 0) {
            printf(",\"name\":null}\n");
        } else {
            printf(",\"name\":\"row %" PRId64 "\"}\n", i);
        }
    }
    return fflush(stdout) == 0 ? 0 : 1;
}

// The shortest form of a custom function: a program that reads its arguments as JSON from standard input, and prints one
// JSON object a line. It has no connection and no positions.
//
// Arguments: `rows`, how many lines to print.

#include <cstdint>
#include <cstdlib>
#include <iostream>
#include <iterator>
#include <string>

int main() {
    const std::string arguments(std::istreambuf_iterator<char>(std::cin), {});
    const std::string key = "\"rows\":";
    const auto at = arguments.find(key);
    if (at == std::string::npos) {
        std::cerr << "The argument `rows` is missing\n";
        return 1;
    }
    const std::int64_t count = std::strtoll(arguments.c_str() + at + key.size(), nullptr, 10);
    for (std::int64_t i = 0; i < count; i++) {
        const std::string name = i % 10 == 0 ? "null" : "\"row " + std::to_string(i) + "\"";
        std::cout << "{\"id\":" << i << ",\"square\":" << i * i << ",\"half\":" << i / 2 << (i % 2 == 0 ? ".0" : ".5")
                  << ",\"name\":" << name << "}\n";
    }
    std::cout.flush();
    return std::cout.good() ? 0 : 1;
}

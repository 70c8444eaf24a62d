// The shortest form of a custom function: a program that reads its arguments as JSON from standard input, and prints one
// JSON object a line. It has no connection and no positions.
//
// Arguments: `rows`, how many lines to print.

/** Lines that are printed together. */
const CHUNK: i32 = 1000;

function fail(message: string): void {
  process.stderr.write(message + "\n");
  process.exit(1);
}

/** The number behind `"rows":` on standard input. */
function rows(): i64 {
  const buffer = new ArrayBuffer(1024);
  const length = process.stdin.read(buffer);
  const text = String.UTF8.decode(buffer.slice(0, length));
  const key = "\"rows\":";
  const at = text.indexOf(key);
  if (at < 0) fail("The argument `rows` is missing");
  return I64.parseInt(text.substring(at + key.length));
}

function line(i: i64): string {
  const half = (i / 2).toString() + (i % 2 == 0 ? ".0" : ".5");
  const name = i % 10 == 0 ? "null" : `"row ${i}"`;
  return `{"id":${i},"square":${i * i},"half":${half},"name":${name}}\n`;
}

const count = rows();
let waiting: string[] = [];
for (let i: i64 = 0; i < count; i++) {
  waiting.push(line(i));
  if (waiting.length == CHUNK) {
    process.stdout.write(waiting.join(""));
    waiting = [];
  }
}
process.stdout.write(waiting.join(""));

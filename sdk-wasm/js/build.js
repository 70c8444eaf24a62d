// Builds a function: node build.js FUNCTION.js OUT.wasm
//
// The engine is SpiderMonkey, which has BigInt; the sandbox gives a function no files and no network, so they are left
// out from the beginning.

import { writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { componentize } from "@bytecodealliance/componentize-js";

const [source, out] = process.argv.slice(2);
if (!source || !out) {
    console.error("Usage: node build.js FUNCTION.js OUT.wasm");
    process.exit(2);
}
const { component } = await componentize({
    sourcePath: source,
    witPath: fileURLToPath(new URL("../wit/1.0", import.meta.url)),
    worldName: "custom-function",
    disableFeatures: ["http", "fetch-event"],
});
await writeFile(out, component);

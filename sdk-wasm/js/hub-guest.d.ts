/** Types of hub-guest.js for TypeScript: build the JavaScript with `tsc`, then the component from it. */

export type Value = null | boolean | bigint | number | string | Uint8Array;
export type Type =
    | "boolean" | "signed" | "unsigned" | "float" | "text" | "bytes" | "date" | "time" | "timestamp" | "instant" | "json";
export interface Field { name: string; columnType: object; nullable: boolean; key: number | undefined }
/** What a function yields: made by `rows` and `boundary`. */
export interface Event { tag: "rows" | "boundary" | "end"; val?: unknown }
export type Generate = (args: any, position: any | undefined) => Generator<Event, void, void>;

export class Failure extends Error {
    constructor(kind: string, message: string, options?: { hint?: string; retryable?: boolean });
}
export function field(name: string, type: Type, options?: { nullable?: boolean; key?: number }): Field;
export function decimal(name: string, precision: number, scale: number, options?: { nullable?: boolean }): Field;
export function rows(fields: Field[], values: Value[][]): Event;
export function boundary(position?: object): Event;
export function query(statement: string, ...parameters: Value[]): Generator<Record<string, Value>>;
export function command(...parts: Value[]): Generator<Record<string, Value>>;
export function document(json: string): Generator<Record<string, Value>>;
export function log(message: string, level?: "error" | "warn" | "info" | "debug" | "trace"): void;
export function exportFunction(generate: Generate, options?: { positionVersion?: number }): object;

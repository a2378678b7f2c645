/**
 * What runs inside a thread for `func` handlers: it loads the module, and calls the function for each event.
 * @module
 */
/// <reference lib="deno.worker" />

import { type Answer, type Call, CLOSED } from "./thread_messages.ts";

const { file, directory } = JSON.parse(self.name) as { file: string; directory?: string };
let log = "";
let limit = 0;

// The worker's stdout is for the worker's own lines.
for (const level of ["debug", "log", "info", "warn", "error"] as const) {
  console[level] = (...words: unknown[]) => {
    if (log.length > limit) return;
    log += words.map((word) => typeof word === "string" ? word : Deno.inspect(word)).join(" ");
    log = log.length < limit ? `${log}\n` : `${log.slice(0, limit)}\n[cut]`;
  };
}

// A message that the function posts itself would be taken for an answer.
const post = self.postMessage.bind(self);
self.postMessage = () => {
  throw new TypeError("a handler's result is what it returns");
};

const loading = load();
loading.catch(() => {});

async function load(): Promise<Record<string, unknown>> {
  try {
    return await import(`file://${encodeURI(file).replace(/[?#]/g, encodeURIComponent)}`);
  } finally {
    if (directory !== undefined) {
      await Deno.permissions.revoke({ name: "read", path: directory });
    }
  }
}

self.onmessage = async ({ data }: { data: Call }) => {
  limit = data.limit;
  const counted = Atomics.load(data.begun, 0) & ~CLOSED;
  for (const [index, event] of data.events.entries()) {
    if (index >= counted && Atomics.add(data.begun, 0, 1) & CLOSED) return;
    log = "";
    const answered = await answer(data.name, event);
    post(answered);
    if (!("status" in answered) || answered.status === "failed") return; // the worker drops this thread
  }
};

async function answer(name: string, event: string): Promise<Answer> {
  let module: Record<string, unknown>;
  try {
    module = await loading;
  } catch (error) {
    return { status: "failed", code: 1, log, error: `cannot be loaded: ${text(error)}` };
  }
  const handler = Object.hasOwn(module, name) ? module[name] : undefined;
  if (typeof handler !== "function") {
    const names = Object.keys(module).join(", ") || "nothing";
    return { bad: `exports no function '${name}'; it exports: ${names}` };
  }
  try {
    const value = await handler(JSON.parse(event));
    return { status: "done", code: 0, data: cut(JSON.stringify(value)), log };
  } catch (error) {
    return { status: "failed", code: 1, log, error: text(error) };
  }
}

function cut(json: string | undefined): unknown {
  if (json === undefined) return null;
  if (json.length <= limit) return JSON.parse(json);
  return `${json.slice(0, limit)}\n[cut: ${json.length} characters in all]`;
}

function text(error: unknown): string {
  return (error instanceof Error ? `${error.name}: ${error.message}` : String(error)).slice(
    0,
    1000,
  );
}

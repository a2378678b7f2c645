/**
 * What the tests ask of a tool's status.
 * @module
 */
import assert from "node:assert/strict";
import { eventually, type Running } from "./testing.ts";

/** Where a tool that was started with `--status-port 0` serves its status. */
export async function statusOf(tool: Running): Promise<string> {
  const [, url] = await tool.seen(/\/metrics at (\S+)$/m);
  return url!;
}

/** Asks at `/healthz` or `/readyz`. */
export async function ask(url: string): Promise<{ code: number; status: string; reasons: string }> {
  const answer = await fetch(url);
  const { status, reasons = [] } = await answer.json();
  return { code: answer.status, status, reasons: reasons.join("; ") };
}

/** Waits for a reason why it is not ready, `limit` milliseconds at most. */
export async function notReady(url: string, reason: RegExp, limit: number) {
  await eventually(async () => {
    const { code, reasons } = await ask(`${url}/readyz`);
    assert.match(reasons, reason);
    assert.equal(code, 503);
  }, limit);
  assert.equal((await ask(`${url}/healthz`)).code, 200, "what others are the reason for");
}

/** Waits until it is ready. */
export async function isReady(url: string) {
  const ready = { code: 200, status: "ready", reasons: "" };
  await eventually(async () => assert.deepEqual(await ask(`${url}/readyz`), ready));
}

/** A metric's value; `line` is its name, with its labels. */
export async function metric(url: string, line: string): Promise<number> {
  const text = await (await fetch(`${url}/metrics`)).text();
  const found = text.split("\n").filter((one) => one.startsWith(line + " "));
  assert.equal(found.length, 1, `${line} in\n${text}`);
  return Number(found[0]!.slice(line.length));
}

/**
 * Tests of how the server refuses: one for each of many cases.
 * @module
 */
import assert from "node:assert/strict";
import { type Channel, type Close, type Setup, setup } from "./harness.ts";

/** By what the client does: doing it, with a unique name `n`, and how the server closes; `N` stands for that name. */
export type Cases = Record<string, [act: (c: Channel, n: string, s: Setup) => unknown, Close]>;

/** A test for each case: the server closes the channel. */
export function testChannelErrors(cases: Cases): void {
  testErrors("channel", cases, (s, act) => s.closeOfChannel(act));
}

/** A test for each case: the server closes the whole connection. */
export function testConnectionErrors(cases: Cases): void {
  testErrors("connection", cases, (s, act) => s.closeOfConnection(act));
}

function testErrors(
  closed: string,
  cases: Cases,
  closeOf: (s: Setup, act: (channel: Channel) => unknown) => Promise<Close>,
): void {
  for (const [what, [act, expected]] of Object.entries(cases)) {
    Deno.test(`${closed} closes on ${what}`, async () => {
      await using s = await setup();
      const name = s.name();
      const { code, text } = await closeOf(s, (channel) => act(channel, name, s));
      assert.deepEqual({ code, text: text.replaceAll(name, "N") }, expected);
    });
  }
}

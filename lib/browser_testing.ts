/**
 * A page in a real browser: Debian's chromium, driven over the DevTools protocol (https://chromedevtools.github.io/devtools-protocol/).
 * @module
 */
import assert from "node:assert/strict";
import { eventually, start } from "./testing.ts";

const chromium = "chromium";

/** Whether there is a browser; in CI there must be. */
export async function installed(): Promise<boolean> {
  try {
    await new Deno.Command(chromium, { args: ["--version"], stdout: "null" }).output();
    return true;
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
  if (Deno.env.get("CI")) assert.fail(`there is no '${chromium}' here`);
  console.log(`there is no '${chromium}' here: not tested`);
  return false;
}

/** What the DevTools protocol says. */
// deno-lint-ignore no-explicit-any
type Told = any;

/** A page in a browser. */
export interface Page {
  /** Calls a method of the protocol. */
  send(method: string, params?: Record<string, unknown>): Promise<Told>;
  /** Listens to an event of the protocol. */
  on(method: string, listener: (event: Told) => void): void;
  /** The value of an expression, awaited. */
  evaluate<T>(expression: string): Promise<T>;
}

/** A browser. */
export interface Browser extends AsyncDisposable {
  /** Exceptions in all pages, and errors in their consoles: what the browser itself writes (not found, against the policy), too. */
  readonly problems: string[];
  /** Opens a page. */
  open(url: string): Promise<Page>;
}

/** Starts a browser. */
export async function startBrowser(): Promise<Browser> {
  await using stack = new AsyncDisposableStack();
  const profile = await Deno.makeTempDir({ prefix: "event-sink-chromium-" });
  // Its helper processes may write for a moment longer than it lives.
  stack.defer(() => eventually(() => Deno.remove(profile, { recursive: true })));
  const browser = stack.use(start([
    "--headless",
    "--no-sandbox", // CI is root, whom the sandbox refuses
    "--disable-dev-shm-usage", // small in containers
    "--remote-debugging-port=0",
    `--user-data-dir=${profile}`,
  ], { command: chromium }));
  const [, url] = await browser.seen(/DevTools listening on (\S+)/);
  const socket = new WebSocket(url!);
  const waiting = new Map<number, PromiseWithResolvers<Told>>();
  const listeners = new Map<string, (event: Told) => void>();
  socket.onmessage = ({ data }) => {
    const { id, sessionId, method, params, error, result } = JSON.parse(data);
    if (id === undefined) return listeners.get(`${sessionId} ${method}`)?.(params);
    if (error) waiting.get(id)?.reject(new Error(error.message));
    else waiting.get(id)?.resolve(result);
    waiting.delete(id);
  };
  await new Promise((resolve, reject) => {
    socket.onopen = resolve;
    socket.onerror = reject;
  });
  let calls = 0;
  function send(method: string, params = {}, sessionId?: string): Promise<Told> {
    const answer = Promise.withResolvers<Told>();
    waiting.set(++calls, answer);
    socket.send(JSON.stringify({ id: calls, sessionId, method, params }));
    return answer.promise;
  }
  stack.defer(async () => {
    const closed = new Promise((resolve) => socket.onclose = resolve);
    await send("Browser.close");
    await closed;
    await browser.ended();
  });
  const problems: string[] = [];
  const owned = stack.move();
  return {
    problems,
    async open(url) {
      const { targetId } = await send("Target.createTarget", { url: "about:blank" });
      const { sessionId } = await send("Target.attachToTarget", { targetId, flatten: true });
      const page: Page = {
        send: (method, params) => send(method, params, sessionId),
        on: (method, listener) => void listeners.set(`${sessionId} ${method}`, listener),
        async evaluate(expression) {
          const given = { expression, awaitPromise: true, returnByValue: true };
          const { result, exceptionDetails } = await page.send("Runtime.evaluate", given);
          assert(!exceptionDetails, JSON.stringify(exceptionDetails));
          return result.value;
        },
      };
      page.on("Runtime.exceptionThrown", (event) => problems.push(JSON.stringify(event)));
      page.on("Runtime.consoleAPICalled", ({ type, args }) => {
        if (type === "error") problems.push(JSON.stringify(args));
      });
      page.on("Log.entryAdded", ({ entry }) => {
        if (entry.level === "error") problems.push(JSON.stringify(entry));
      });
      for (const domain of ["Runtime", "Log", "Page"]) await page.send(`${domain}.enable`);
      await page.send("Page.navigate", { url });
      return page;
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

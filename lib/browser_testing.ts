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

/** Starts a browser and attaches to a page in it. */
async function startBrowser() {
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
  const listeners: Record<string, (event: Told) => void> = {};
  let sessionId: string | undefined;
  socket.onmessage = ({ data }) => {
    const { id, method, params, error, result } = JSON.parse(data);
    if (id === undefined) return listeners[method]?.(params);
    if (error) waiting.get(id)?.reject(new Error(error.message));
    else waiting.get(id)?.resolve(result);
    waiting.delete(id);
  };
  await new Promise((resolve, reject) => {
    socket.onopen = resolve;
    socket.onerror = reject;
  });
  let calls = 0;
  function send(method: string, params = {}): Promise<Told> {
    const answer = Promise.withResolvers<Told>();
    waiting.set(++calls, answer);
    socket.send(JSON.stringify({ id: calls, sessionId, method, params }));
    return answer.promise;
  }
  const { targetId } = await send("Target.createTarget", { url: "about:blank" });
  ({ sessionId } = await send("Target.attachToTarget", { targetId, flatten: true }));
  stack.defer(async () => {
    sessionId = undefined;
    const closed = new Promise((resolve) => socket.onclose = resolve);
    await send("Browser.close");
    await closed;
    await browser.ended();
  });
  const owned = stack.move();
  return {
    send,
    on(method: string, listener: (event: Told) => void) {
      listeners[method] = listener;
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

/** A browser with one page: what a test asks it. */
export async function openPage() {
  await using stack = new AsyncDisposableStack();
  const { send, on } = stack.use(await startBrowser());
  const problems: string[] = [];
  const held: string[] = [];
  on("Runtime.exceptionThrown", (event) => problems.push(JSON.stringify(event)));
  on("Runtime.consoleAPICalled", (event) => {
    if (event.type === "error") problems.push(JSON.stringify(event.args));
  });
  // What the browser itself writes to the console: refused by the Content-Security-Policy, not found, ...
  on("Log.entryAdded", ({ entry }) => {
    if (entry.level === "error") problems.push(JSON.stringify(entry));
  });
  for (const domain of ["Runtime", "Log", "Page"]) await send(`${domain}.enable`);
  const owned = stack.move();

  async function evaluate<T>(expression: string): Promise<T> {
    const { result, exceptionDetails } = await send("Runtime.evaluate", {
      expression,
      awaitPromise: true,
      returnByValue: true,
    });
    assert(!exceptionDetails, JSON.stringify(exceptionDetails));
    return result.value as T;
  }
  const pairs = (selector: string) =>
    evaluate<Record<string, string>>(
      `Object.fromEntries([...document.querySelectorAll("${selector}")].map((row) =>
         [row.dataset.curve ?? row.children[0].textContent, row.children[1].textContent]))`,
    );
  return {
    send,
    evaluate,
    /** Exceptions, and errors in the console. */
    problems,
    connection: () => evaluate<string>(`document.querySelector("#connection").textContent`),
    numbers: () => pairs(".numbers div"),
    /** The texts of a table's rows. */
    table: (name: string) =>
      evaluate<string[][]>(
        `[...document.querySelectorAll("[data-table=${name}] tr")].map((row) =>
           [...row.children].map((cell) => cell.textContent))`,
      ),
    /** The values beside the plots, by curve. */
    values: () => pairs("[data-curve]"),
    background: () => evaluate<string>("getComputedStyle(document.body).backgroundColor"),
    /** For each curve, and the axes, how many stretches of its plot's columns have its colour. */
    drawn: () =>
      evaluate<Record<string, number>>(`(() => {
        function stretches(canvas, colour) {
          const wanted = colour.match(/\\d+/g).map(Number);
          const { width, height } = canvas;
          const { data } = canvas.getContext("2d").getImageData(0, 0, width, height);
          const has = (x, y) => {
            const at = (y * width + x) * 4;
            return data[at + 3] > 200 && wanted.every((part, i) => Math.abs(part - data[at + i]) < 20);
          };
          const columns = Array.from({ length: width }, (_, x) =>
            Array.from({ length: height }).some((_, y) => has(x, y)));
          return columns.filter((is, x) => is && !columns[x - 1]).length;
        }
        const drawn = {};
        for (const section of document.querySelectorAll(".plotted")) {
          const canvas = section.querySelector("canvas");
          for (const curve of section.querySelectorAll("[data-curve]")) {
            drawn[curve.dataset.curve] =
              stretches(canvas, getComputedStyle(curve, "::before").borderTopColor);
          }
          const quiet = getComputedStyle(document.querySelector("footer")).color;
          drawn["axes of " + section.querySelector("h2").id] = stretches(canvas, quiet);
        }
        return drawn;
      })()`),
    /** From now on the page's requests for samples wait for `pretend()`. */
    async hold() {
      on("Fetch.requestPaused", ({ requestId }) => held.push(requestId));
      await send("Fetch.enable", { patterns: [{ urlPattern: "*/api/statistics/live" }] });
    },
    /** Answers the page's next request with these samples, and no further ones. */
    pretend: (samples: unknown[]) =>
      eventually(async () => {
        const requestId = held.shift();
        assert(requestId, "no request for samples");
        await send("Fetch.fulfillRequest", {
          requestId,
          responseCode: 200,
          responseHeaders: [{ name: "content-type", value: "text/event-stream" }],
          body: btoa(`retry: 100\nevent: history\ndata: ${JSON.stringify(samples)}\n\n`),
        });
      }),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

/**
 * The page of the statistics in a browser: what a test asks it.
 * @module
 */
import assert from "node:assert/strict";
import { startBrowser } from "../../lib/browser_testing.ts";
import { eventually } from "../../lib/testing.ts";
import type { Sample } from "../statistics/api.ts";

export { installed } from "../../lib/browser_testing.ts";

/** A browser with one page. */
export async function openPage() {
  await using stack = new AsyncDisposableStack();
  const browser = stack.use(await startBrowser());
  const { send, on, evaluate } = await browser.open("about:blank");
  const owned = stack.move();
  const held: string[] = [];
  const pairs = (selector: string) =>
    evaluate<Record<string, string>>(
      `Object.fromEntries([...document.querySelectorAll("${selector}")].map((row) =>
         [row.dataset.curve ?? row.children[0].textContent, row.children[1].textContent]))`,
    );
  return {
    send,
    evaluate,
    problems: browser.problems,
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
    pretend: (samples: Sample[]) =>
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

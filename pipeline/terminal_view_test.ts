import assert from "node:assert/strict";
import type { Statistics } from "./statistics/store.ts";
import { createScreen } from "./terminal_view.ts";

const durations = { mean: 1, p50: 1, p95: 2, max: 3 };
const times = { createdToStarted: durations, startedToFinished: durations };
const statistics: Statistics = {
  objects: 5,
  tasks: { created: 15, waiting: 6, started: 9, inProgress: 3, finished: 5, failed: 1 },
  ...times,
  lastMinutes: { 1: {}, 5: {}, 60: times },
};

function drawn(options: { terminal: boolean; colours: boolean; width?: number }) {
  const printed: string[] = [];
  const screen = createScreen({
    ...options,
    columns: () => options.width ?? 80,
    print: (text) => Promise.resolve(void printed.push(text.replaceAll("\x1b[", "ESC["))),
  });
  screen.show(statistics);
  screen.note("WRN something");
  screen.show(statistics);
  return printed;
}

Deno.test("a terminal shows coloured bars, drawn over, what services say above them", () => {
  const [first, second] = drawn({ terminal: true, colours: true });
  assert.match(first!, /^ {2}waiting {11}6 {3}ESC\[33m█{22}ESC\[0m$/m);
  assert.match(first!, /^ {2}failed {12}1 {3}ESC\[31m█{4}ESC\[0m$/m);
  assert.equal(second, `ESC[8FESC[0JWRN something\n${first}`);
});

Deno.test("with NO_COLOR a terminal has bars without colours, no line wider than it is", () => {
  for (const width of [80, 30, 10]) {
    const [first] = drawn({ terminal: true, colours: false, width });
    assert.doesNotMatch(first!, /ESC/);
    if (width === 80) assert.match(first!, /█/);
    if (width < 30) continue;
    for (const line of first!.split("\n")) assert(line.length < width, line);
  }
});

Deno.test("what is no terminal gets plain lines, and only when something has changed", () => {
  const lines = drawn({ terminal: false, colours: true });
  assert.equal(lines.length, 2);
  assert.match(lines[0]!, /^generated 5, distributed 15, waiting 6, in progress 3, processed 5, /);
  assert.equal(lines[1], "WRN something");
});

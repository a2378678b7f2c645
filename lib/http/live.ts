/**
 * What happens, told to the pages that are open: server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html).
 * @module
 */

/** An event as a page gets it: its name, `message` for those without one, and its data, which is sent as JSON. */
export type LiveEvent = [name: string, data: unknown];

/** Who listens. */
export interface Live {
  /** Whether there is a page. */
  watched(): boolean;
  /** Tells all pages. */
  tell(...event: LiveEvent): void;
  /** The answer to a page: a stream of these events, and of all that is told from now on. */
  answer(...first: LiveEvent[]): Response;
}

/** Milliseconds between signs of life, by which either side notices that the other one is gone. */
const ALIVE = 5000;
/** Events that a slow page may be behind before it is cut off; it connects again and reads everything. */
const MOST_BEHIND = 1000;

/** Makes one; it ends when `signal` aborts. */
export function createLive(signal: AbortSignal): Live {
  const pages = new Set<ReadableStreamDefaultController<Uint8Array>>();
  const alive: LiveEvent = ["alive", null];
  function tell(...event: LiveEvent) {
    const bytes = encoded(event);
    for (const page of pages) {
      if (page.desiredSize! > -MOST_BEHIND) page.enqueue(bytes);
      else {
        pages.delete(page);
        page.error(new Error("too slow"));
      }
    }
  }
  const timer = setInterval(() => tell(...alive), ALIVE);
  signal.addEventListener("abort", () => {
    clearInterval(timer);
    for (const page of pages) page.close();
    pages.clear();
  }, { once: true });

  return {
    watched: () => pages.size > 0,
    tell,
    answer(...first) {
      let page: ReadableStreamDefaultController<Uint8Array>;
      const stream = new ReadableStream<Uint8Array>({
        start(controller) {
          page = controller;
          for (const event of [alive, ...first]) page.enqueue(encoded(event));
          if (signal.aborted) page.close();
          else pages.add(page);
        },
        cancel: () => void pages.delete(page),
      });
      return new Response(stream, {
        headers: { "content-type": "text/event-stream", "cache-control": "no-store" },
      });
    },
  };
}

function encoded([name, data]: LiveEvent): Uint8Array {
  // A page that has lost its connection tries again a second later.
  return new TextEncoder().encode(`retry: 1000\nevent: ${name}\ndata: ${JSON.stringify(data)}\n\n`);
}

/**
 * What happens, told to the pages that are open: server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html).
 * @module
 */

/** Something that a page shows. */
export interface News {
  /** Such as `product_updated`. */
  type: string;
  /** The product. */
  id: number;
}

/** Who listens. */
export interface Live {
  /** Tells all pages. */
  tell(news: News): void;
  /** The answer to a page: a stream of news. */
  answer(): Response;
}

/** Milliseconds between signs of life, by which either side notices that the other one is gone. */
const ALIVE = 5000;
/** Events that a slow page may be behind before it is cut off; it connects again and reads everything. */
const MOST_BEHIND = 1000;

/** Makes one; it ends when `signal` aborts. */
export function createLive(signal: AbortSignal): Live {
  const pages = new Set<ReadableStreamDefaultController<Uint8Array>>();
  const encoder = new TextEncoder();
  function send(text: string) {
    const bytes = encoder.encode(text);
    for (const page of pages) {
      if (page.desiredSize! > -MOST_BEHIND) page.enqueue(bytes);
      else {
        pages.delete(page);
        page.error(new Error("too slow"));
      }
    }
  }
  const timer = setInterval(() => send("event: alive\ndata:\n\n"), ALIVE);
  signal.addEventListener("abort", () => {
    clearInterval(timer);
    for (const page of pages) page.close();
    pages.clear();
  }, { once: true });

  return {
    tell: (news) => send(`data: ${JSON.stringify(news)}\n\n`),
    answer() {
      let page: ReadableStreamDefaultController<Uint8Array>;
      const stream = new ReadableStream<Uint8Array>({
        start(controller) {
          page = controller;
          page.enqueue(encoder.encode("retry: 1000\nevent: alive\ndata:\n\n"));
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

/**
 * Fixture of the tests: takes the spans that tools export. Imported by tests only.
 * @module
 */

/** A span as it was exported. */
export interface Span {
  service: string;
  name: string;
  traceId: string;
  spanId: string;
  /** `""` of a trace's first one. */
  parentSpanId: string;
  attributes: Record<string, unknown>;
  /** Spans that it has links to. */
  links: string[];
  /** Whether it failed, and what of. */
  failure: string | undefined;
  /** Nanoseconds since 1970. */
  begin: bigint;
}

/** Takes spans until it is disposed. */
export interface SpanReceiver extends AsyncDisposable {
  readonly spans: readonly Span[];
  readonly url: string;
  /** The variables that have a tool export its spans to here. */
  env(service: string): Record<string, string>;
  /** A trace as lines `service: name`, each below the span that led to it and indented by two more spaces, the earliest first. */
  outline(traceId: string): string[];
  /** The one span with this name. */
  named(name: string): Span;
}

/** Takes OTLP over HTTP in JSON (https://opentelemetry.io/docs/specs/otlp/#otlphttp). What Deno itself traces, such as `fetch`, is left out. */
export function receiveSpans(port = 0): SpanReceiver {
  const spans: Span[] = [];
  const server = Deno.serve({ hostname: "127.0.0.1", port, onListen() {} }, async (request) => {
    const text = await request.text();
    if (request.url.endsWith("/v1/traces")) spans.push(...spansIn(JSON.parse(text)));
    return new Response("{}");
  });
  const url = `http://127.0.0.1:${server.addr.port}`;
  return {
    spans,
    url,
    env: (service) => ({ ...exportTo(url), OTEL_SERVICE_NAME: service }),
    outline(traceId) {
      const ours = spans.filter((span) => span.traceId === traceId)
        .sort((one, other) => Number(one.begin - other.begin));
      const known = new Set(ours.map(({ spanId }) => spanId));
      const below = (parent: string, indent: string): string[] =>
        ours.filter(({ parentSpanId }) =>
          parent === "" ? !known.has(parentSpanId) : parentSpanId === parent
        ).flatMap(({ service, name, spanId }) => [
          `${indent}${service}: ${name}`,
          ...below(spanId, indent + "  "),
        ]);
      return below("", "");
    },
    named(name) {
      const found = spans.filter((span) => span.name === name);
      if (found.length === 1) return found[0]!;
      const names = [...new Set(spans.map(({ name }) => name))].join(", ");
      throw new Error(`There are ${found.length} spans ${name} among: ${names}`);
    },
    [Symbol.asyncDispose]: () => server.shutdown(),
  };
}

/** The variables that have a tool export its spans. */
export function exportTo(url: string): Record<string, string> {
  return {
    OTEL_DENO: "true",
    OTEL_EXPORTER_OTLP_ENDPOINT: url,
    OTEL_EXPORTER_OTLP_PROTOCOL: "http/json",
    OTEL_BSP_SCHEDULE_DELAY: "50",
  };
}

interface Attribute {
  key: string;
  value: Record<string, unknown>;
}

// deno-lint-ignore no-explicit-any
function spansIn({ resourceSpans }: any): Span[] {
  // deno-lint-ignore no-explicit-any
  return resourceSpans.flatMap(({ resource, scopeSpans }: any) =>
    // deno-lint-ignore no-explicit-any
    scopeSpans.filter(({ scope }: any) => scope.name !== "deno").flatMap(({ spans }: any) =>
      // deno-lint-ignore no-explicit-any
      spans.map((span: any) => ({
        ...span,
        service: valuesOf(resource.attributes)["service.name"],
        attributes: valuesOf(span.attributes),
        links: span.links.map(({ spanId }: Span) => spanId),
        failure: span.status.code === 2 ? span.status.message : undefined,
        begin: BigInt(span.startTimeUnixNano),
      }))
    )
  );
}

function valuesOf(attributes: Attribute[]): Record<string, unknown> {
  return Object.fromEntries(attributes.map(({ key, value }) => [key, Object.values(value)[0]]));
}

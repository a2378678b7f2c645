/**
 * The status of a tool that runs for long: `--status-port` serves it, `--health` asks for it.
 * @module
 */
import { type Flag, type Flags, numberFlag, switchFlag, UsageError } from "./flags.ts";
import { setHealth } from "./health.ts";
import type { Log } from "./log.ts";

/** Where a tool serves its status. */
export interface StatusAddress {
  /** Address to listen on. */
  host: string;
  /** Port to listen on, 0 for any free one. */
  port: number;
}

/** What the flags of {@linkcode statusFlags} lead to, with those of a tool that serves HTTP. */
export interface StatusValues {
  health: boolean;
  inHandLimit: number;
  statusPort?: StatusAddress;
  host?: string;
  port?: number;
}

/** Milliseconds that the running tool may take to answer `--health`: longer than its own questions may take. */
const ASK_LIMIT = 8000;

/** Most characters of its answer. */
const MOST_ANSWER = 100_000;

/** Milliseconds that somebody may take to ask: such a request has no body. */
const RECEIVE_LIMIT = 3000;

const statusPort: Flag<StatusAddress | undefined> = {
  about:
    "port to serve /healthz, /readyz and /metrics on, 0 for any free one, on the loopback address unless HOST says otherwise; none if unset",
  value: "[HOST:]PORT",
  default: undefined,
  env: ["STATUS_PORT"],
  parse(text) {
    const [, host = "127.0.0.1", port] = /^(?:(.+):)?(\d{1,5})$/.exec(text) ?? [];
    if (!port || Number(port) > 65_535) {
      throw new TypeError(`expected [HOST:]PORT with a port from 0 to 65535, not '${text}'`);
    }
    return { host: host.replace(/^\[|\]$/g, ""), port: Number(port) };
  },
};

/**
 * The flags of a tool that runs for long.
 *
 * @param flags its own; with `--port` among them it serves its status there
 */
export function statusFlags(flags: Flags): Flags {
  return {
    ...flags.port ? {} : { statusPort },
    health: switchFlag(
      `ask the tool that runs with the same ${
        flags.port ? "--port" : "--status-port"
      } whether it is ready; exits with 0 if it is, else with 1`,
    ),
    inHandLimit: numberFlag("seconds that a message may be in hand before /healthz tells of it", {
      default: 1800,
      min: 1,
      max: 31_536_000,
    }),
  };
}

/**
 * Serves the status, if the flags say where.
 *
 * @param signal the tool's: once it has aborted the tool is not ready any more
 * @throws when the address is taken
 */
export async function serveStatus(
  { statusPort, inHandLimit }: StatusValues,
  { log, signal }: { log: Log; signal: AbortSignal },
): Promise<AsyncDisposable> {
  setHealth(inHandLimit, signal);
  const end = new AbortController();
  const serving = statusPort && await startServer(statusPort, log, end.signal);
  return {
    async [Symbol.asyncDispose]() {
      end.abort();
      await serving?.done;
    },
  };
}

/** Resolves when requests are accepted; `done` when the server has ended. */
async function startServer(address: StatusAddress, log: Log, signal: AbortSignal) {
  const [{ Hono }, { guard }, { serve }, { addStatus }] = await Promise.all([
    import("hono"),
    import("./http/guard.ts"),
    import("./http/server.ts"),
    import("./http/status.ts"),
  ]);
  const app = new Hono();
  // Who lets others than this machine ask calls it by any name, such as that of a container.
  if (isLoopback(address.host)) app.use(guard({ host: address.host, allowedHosts: [] }));
  addStatus(app);
  const listening = Promise.withResolvers<void>();
  const done = serve(app, {
    ...{ ...address, signal, log, flag: "--status-port", receiveLimit: RECEIVE_LIMIT },
    listening(url) {
      log.info(`Serving /healthz, /readyz and /metrics at ${url}`);
      listening.resolve();
    },
  });
  await Promise.race([listening.promise, done]);
  return { done };
}

/**
 * Asks the running tool whether it is ready.
 *
 * @throws with the reasons when it is not, or does not answer
 */
export async function askHealth({ statusPort, host, port }: StatusValues): Promise<void> {
  const address = statusPort ?? (port && host !== undefined ? { host, port } : undefined);
  if (!address?.port) {
    throw new UsageError("--health needs the port that the running tool was given");
  }
  const url = `http://${nameToCall(address.host)}:${address.port}/readyz`;
  let answer: { status?: unknown; reasons?: unknown };
  try {
    answer = JSON.parse(await get(url)) ?? {};
  } catch (error) {
    throw new Error(`Not ready: cannot ask ${url}: ${(error as Error).message}`);
  }
  const { status, reasons } = answer;
  if (status === "ready") return;
  const why = Array.isArray(reasons) ? reasons.join("; ") : `${url} is none of these tools`;
  throw new Error(`Not ready: ${why}`);
}

/** Not by fetch(), which would go by way of the proxy that HTTP_PROXY names. */
async function get(url: string): Promise<string> {
  const { get } = await import("node:http");
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  const request = get(url, { agent: false }, (response) => {
    let text = "";
    response.setEncoding("utf8");
    response.on("data", (chunk) => text.length < MOST_ANSWER && (text += chunk));
    response.on("end", () => resolve(text));
    response.on("error", reject);
  });
  const late = () => request.destroy(new Error(`no answer within ${ASK_LIMIT / 1000} s`));
  const timer = setTimeout(late, ASK_LIMIT);
  request.on("error", reject);
  try {
    return await promise;
  } finally {
    clearTimeout(timer);
    request.destroy();
  }
}

function isLoopback(host: string): boolean {
  return /^(127\.|::1$|localhost$)/.test(host);
}

/** The address by which this machine calls a server that listens on `host`. */
function nameToCall(host: string): string {
  const name = { "0.0.0.0": "127.0.0.1", "::": "::1" }[host] ?? host;
  return name.includes(":") ? `[${name}]` : name;
}

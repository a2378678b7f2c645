#!/usr/bin/env -S deno run --no-prompt --allow-net=127.0.0.1 --allow-env=AMQP_URL,AMQPURL,RABBITMQ_URI,QUEUE_URL,QUEUE_TYPE,LOG_LEVEL --allow-run --allow-read=. --allow-write
/**
 * Both services at work: starts them, and the embedded broker where AMQP_URL is not set, makes some products, and shows that both databases
 * agree, whenever something changes, until Ctrl-C.
 *
 * Run: `deno task products`.
 * @module
 */
import {
  amqpUrlFlag,
  createCrew,
  numberFlag,
  pause,
  printable,
  runTool,
  textFlag,
} from "@event-sink/lib";
import { resolve } from "node:path";
import type { Product } from "./product.ts";

/** Milliseconds between two readings of the products. */
const INTERVAL = 200;
/** Products that are shown at most. */
const SHOWN = 20;

const samples = [
  { title: "A cup of tea", price: "2.40" },
  { title: "Two scones", price: "3.95", description: "With clotted cream" },
  { title: "A pot of honey", price: "6.00", description: "From the hill behind the house" },
];

const port = (name: string, initial: number) =>
  numberFlag(`port of ${name}, 0 for any free one`, { default: initial, max: 65_535, whole: true });

await runTool(import.meta, {
  about: "Start both services, make some products, and show that both databases agree.",
  flags: {
    amqpUrl: { ...amqpUrlFlag, default: "" },
    port: port("admin", 8010),
    servicePort: port("service", 8011),
    data: textFlag("directory for both databases and the embedded broker's state", {
      value: "DIR",
      default: ".data/products",
    }),
  },
}, async (tool) => {
  const { flags, print, signal, log } = tool;
  await Deno.mkdir(flags.data, { recursive: true, mode: 0o700 });
  await using crew = createCrew(tool, (line) => log.info(line));
  let { amqpUrl } = flags;
  if (amqpUrl === "") {
    ({ amqpUrl } = await crew.startEmbedded(["--data", resolve(flags.data, "embedded")]));
    await print(`export AMQP_URL=${amqpUrl}`);
  }
  async function service(name: string, port: number): Promise<string> {
    const args = ["--port", `${port}`, "--database", resolve(flags.data, `${name}.db`)];
    const cwd = new URL("./", import.meta.url);
    const process = crew.start(name, args, { cwd, env: { AMQP_URL: amqpUrl } });
    return (await process.line(" [*] Listening on ")).replace(/\. To exit.*/, "");
  }
  const admin = await service("admin", flags.port);
  const copy = await service("service", flags.servicePort);
  await print(`Admin is at ${admin}, service at ${copy}: open both, side by side
Or: curl -H 'content-type: application/json' -d '{"title":"Toast","price":"1.80"}' ${admin}/api/products/
To exit press CTRL+C
`);
  if ((await list(admin, signal)).length === 0) {
    for (const sample of samples) await create(admin, sample, signal);
  }
  let shown = "";
  while (!signal.aborted) {
    const [ours, theirs] = [await list(admin, signal), await list(copy, signal)];
    const text = JSON.stringify(ours);
    if (text !== shown && text === JSON.stringify(theirs)) {
      await print(table(ours));
      shown = text;
    }
    await pause(INTERVAL, signal);
  }
});

/** All products, however many answers they take. */
async function list(url: string, signal: AbortSignal): Promise<Product[]> {
  const products: Product[] = [];
  for (let page: string | undefined = "/api/products/"; page !== undefined;) {
    const answer = await request(url + page, { signal });
    products.push(...await answer.json());
    page = /^<(.*)>; rel="next"$/.exec(answer.headers.get("link") ?? "")?.[1];
  }
  return products;
}

async function create(url: string, product: unknown, signal: AbortSignal): Promise<void> {
  const headers = { "content-type": "application/json" };
  const body = JSON.stringify(product);
  const answer = await request(`${url}/api/products/`, { method: "POST", headers, body, signal });
  await answer.body?.cancel();
}

async function request(url: string, init: RequestInit): Promise<Response> {
  const answer = await fetch(url, init);
  if (answer.ok) return answer;
  throw new Error(`Cannot use ${url}: ${answer.status}: ${await answer.text()}`);
}

function table(products: Product[]): string {
  const rows = products.slice(-SHOWN).map(({ id, title, price, likes }) =>
    `${`${id}`.padStart(4)}  ${printable(title, 40).padEnd(40)} ${price.padStart(11)} ${
      `${likes}`.padStart(6)
    }`
  );
  const which = products.length > SHOWN ? `, the last ${SHOWN}` : "";
  const head = `  id  ${"title".padEnd(40)} ${"price".padStart(11)}  likes`;
  return `Both databases agree: ${products.length} products${which}\n${head}\n${rows.join("\n")}\n`;
}

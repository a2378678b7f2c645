/**
 * The rules of the house that a machine can check; ARCHITECTURE.md and CONTRIBUTING.md say what they are for.
 * @module
 */
import assert from "node:assert/strict";
import { queues } from "./consumers/dead-letters/queues.ts";

const root = new URL("./", import.meta.url).pathname;
const read = (path: string) => Deno.readTextFileSync(root + path);

interface Config {
  workspace: string[];
  tasks?: Record<string, string>;
  imports?: Record<string, string>;
}
const config: Config = JSON.parse(read("deno.json"));
const members = config.workspace.map((path) => path.replace("./", ""));
const configs = new Map<string, Config>([
  ["", config],
  ...members.map((member) => [`${member}/`, JSON.parse(read(`${member}/deno.json`))] as const),
]);
const files = [...walk("")];
const sources = new Map(files.filter(isSource).map((path) => [path, importsOf(path)]));
/** The tools: the scripts with a shebang. What is in `examples` is as other people would write it. */
const tools = [...sources.keys()].filter((path) =>
  !/(^|\/)examples\//.test(path) && read(path).startsWith("#!")
);

function* walk(folder: string): Generator<string> {
  for (const { name, isDirectory } of Deno.readDirSync(root + folder)) {
    if (name.startsWith(".") || ["node_modules", "state"].includes(name)) continue; // as .gitignore
    if (isDirectory) yield* walk(`${folder}${name}/`);
    else yield folder + name;
  }
}

function isSource(path: string): boolean {
  return /\.[jt]s$/.test(path) && !path.includes("/sample/") && !path.includes("/page/page.js");
}

/** Tests, trials, and what only they import. */
function isTest(path: string): boolean {
  return /_test(ing)?\.ts$|(^|\/)(testing|contract|chaos)(\.ts$|\/)/.test(path);
}

/** The workspace member that a file is in, else its top folder. */
function roomOf(path: string): string {
  return members.find((member) => path.startsWith(`${member}/`)) ?? topOf(path);
}

/** What a file imports, by `import`, `export ... from`, `import()` and `new URL()` of a thread's file; types included. */
function importsOf(path: string): string[] {
  const statement = /^(?:import|export)\s[^;"'`]*?\bfrom\s"([^"]+)"|^import\s"([^"]+)"/gm;
  const later = /\bimport\(\s*"([^"]+)"|new URL\(\s*"(\.[^"]+\.ts)",\s*import\.meta\.url/g;
  const text = read(path);
  return [...text.matchAll(statement), ...text.matchAll(later)].map(([, first, second]) => {
    const target = first ?? second!;
    return target.startsWith(".") ? new URL(target, `file:///${path}`).pathname.slice(1) : target;
  });
}

/** Those of the given problems that are not known, with the reason that excuses each known one. */
function assertNone(problems: string[], known: Record<string, string> = {}): void {
  assert.deepEqual(problems.filter((problem) => !(problem in known)), []);
  const gone = Object.keys(known).filter((problem) => !problems.includes(problem));
  assert.deepEqual(gone, [], "no exception is needed any more");
}

Deno.test("tools import lib, their own folder and npm; lib and embedded import npm alone", () => {
  const known = {
    "consumers/demo.ts -> consumers/echo/topology.ts": "the exchange of the tools that it starts",
    "bench/worker.ts -> reactor/queue/add.ts": "it fills the queue that it measures",
    "bench/worker.ts -> reactor/queue/collections.ts": "the same",
    "bench/elastic/ours.ts -> prototypes/elastic-workers/monitor/control.ts":
      "the law that it simulates",
    "bench/elastic/ours.ts -> prototypes/elastic-workers/monitor/meter.ts": "the same",
    "deploy/monitoring/monitoring_test.ts -> pipeline/testing/services.ts":
      "services that Prometheus looks at",
    "deploy/monitoring/monitoring_test.ts -> reactor/testing/worker.ts": "the same",
    "rules_test.ts -> consumers/dead-letters/queues.ts": "a rule is about it",
  };
  const problems: string[] = [];
  for (const [path, imports] of sources) {
    const room = roomOf(path);
    const test = isTest(path);
    for (const target of imports) {
      const local = sources.has(target) || /^[\w./-]+\.\w+$/.test(target) && files.includes(target);
      const allowed = local
        ? roomOf(target) === room && (test || !isTest(target)) ||
          test && /^lib\/(\w+_)?testing\.ts$/.test(target)
        : /^@event-sink\/lib(\/(http|outbox|page))?$/.test(target)
        ? room !== "lib" && room !== "embedded"
        : target === "@event-sink/embedded"
        ? test
        : target.startsWith("node:") || isDependency(target);
      if (!allowed) problems.push(`${path} -> ${target}`);
    }
  }
  assertNone(problems, known);
});

function isDependency(specifier: string): boolean {
  return Object.keys(config.imports!).some((name) =>
    specifier === name || specifier.startsWith(`${name}/`)
  );
}

Deno.test("no import circles", () => {
  const circles: string[] = [];
  const state = new Map<string, "open" | "done">();
  function visit(path: string, way: string[]) {
    if (state.get(path) === "done") return;
    if (state.get(path) === "open") {
      circles.push(way.slice(way.indexOf(path)).sort().join(", "));
      return;
    }
    state.set(path, "open");
    for (const target of sources.get(path) ?? []) {
      if (sources.has(target)) visit(target, [...way, path]);
    }
    state.set(path, "done");
  }
  for (const path of [...sources.keys()].sort()) visit(path, []);
  assertNone(circles, {
    "lib/command_line.ts, lib/flags.ts":
      "flags.ts loads commander only when there is a flag to parse",
  });
});

/** Deno's flags in a command or a shebang; of a value that a shell fills in, the flag alone. */
function permissions(command: string): string[] {
  const [, flags = ""] = /\bdeno run ((?:-\S+(?: |$))*)/.exec(
    command.replace(/=\$\([^']*'[^']*'\)/g, ""),
  ) ?? [];
  return flags.split(" ").filter((flag) => flag !== "").sort();
}

Deno.test("a tool's shebang has the permissions of its task", () => {
  const problems: string[] = [];
  for (const tool of tools) {
    const name = tool.match(/([^/]+)\.ts$/)![1]!.replaceAll("_", "-");
    const [shebang = ""] = read(tool).split("\n");
    let count = 0;
    for (const [folder, { tasks = {} }] of configs) {
      const task = tasks[name]?.split("&& ").at(-1);
      const script = task && /\S+\.ts\b/.exec(task)![0];
      if (!task || folder + script !== tool) continue;
      count++;
      const [ours, its] = [permissions(shebang), permissions(task)].map(String);
      if (ours !== its) problems.push(`${tool}: ${ours} in its shebang, ${its} in the task`);
    }
    if (count === 0) problems.push(`${tool} has no task`);
    // Linux reads 256 bytes of it, the end of the line included.
    if (shebang.length > 255) problems.push(`${tool}: its shebang is too long`);
  }
  assertNone(problems);
});

Deno.test("no task takes every permission", () => {
  for (const [folder, { tasks = {} }] of configs) {
    for (const [name, command] of Object.entries(tasks)) {
      assert.doesNotMatch(command, / (-A|--allow-all)\b/, `${folder} ${name}`);
    }
  }
  for (const tool of tools) assert.doesNotMatch(read(tool), /^#!.* (-A|--allow-all)\b/, tool);
});

Deno.test("versions of packages stand in the root's deno.json alone", () => {
  for (const member of members) assert.equal(configs.get(`${member}/`)!.imports, undefined, member);
  for (const path of sources.keys()) {
    assert.doesNotMatch(read(path), /["'`](npm|jsr|https?):[^"'`\s]*@\^?~?\d/, path);
  }
});

Deno.test("every workspace member has a README, and is in the root README's table", () => {
  const table = read("README.md");
  for (const member of members) {
    assert(files.includes(`${member}/README.md`), `${member} has no README.md`);
    assert(table.includes(`| [${member}](${member}) |`), `${member} is not in README.md`);
  }
});

Deno.test("every top folder has a line in ARCHITECTURE.md", () => {
  const house = read("ARCHITECTURE.md");
  for (const folder of new Set(files.filter((path) => path.includes("/")).map(topOf))) {
    assert(house.includes(`| [${folder}](${folder}) |`), `${folder} is not in ARCHITECTURE.md`);
  }
});

function topOf(path: string): string {
  return path.split("/")[0]!;
}

Deno.test("what a document links to exists, and what it names stands there", () => {
  for (const path of files.filter((path) => path.endsWith(".md"))) {
    for (const [, text = "", target = ""] of read(path).matchAll(/\[([^\]]+)\]\(([^):#]+)\)/g)) {
      const file = new URL(target, `file:///${path}`).pathname.slice(1);
      const info = files.includes(file) || files.some((other) => other.startsWith(`${file}/`));
      assert(info, `${path}: there is no ${target}`);
      const [, name] = /^`([\w.]+)(?:\(\))?`$/.exec(text) ?? [];
      if (name && !file.endsWith(name)) {
        assert.match(read(file), new RegExp(`\\b${name}\\b`), `${path}: no ${name} in ${target}`);
      }
    }
  }
});

Deno.test("the code in lib's README and the lines in a prototype's table are those of the prototypes", () => {
  const [, shown = "none"] = /^```ts\n([^]*?)^```/m.exec(read("lib/README.md")) ?? [];
  assert(read("prototypes/send-recv/recv.ts").endsWith(shown), "lib/README.md");
  for (const member of members) {
    if (!member.startsWith("prototypes/") || !files.includes(`${member}/recv.ts`)) continue;
    const lines = [...read(`${member}/README.md`).matchAll(/^\| `(.+?)` \| `\w+\.\w+/gm)];
    assert(lines.length > 0, `${member}/README.md has no table of lines and AMQP methods`);
    const code = [...sources.keys()].filter((path) => path.startsWith(`${member}/`)).map(read);
    for (const [, line] of lines) {
      assert(code.some((text) => text.includes(line!)), `${member}: there is no line ${line}`);
    }
  }
});

/** What a tool says of itself with `--help`, that of its commands included. */
async function helpOf(tool: string, ...command: string[]): Promise<string> {
  const args = ["run", ...permissions(read(tool).split("\n")[0]!), tool, ...command, "--help"];
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args,
    cwd: root,
    env: { NO_COLOR: "1" },
  }).output();
  const decoder = new TextDecoder();
  assert.equal(code, 0, decoder.decode(stderr));
  const help = decoder.decode(stdout);
  const [, list = ""] = command.length === 0 && /\nCommands:\n((?: .*\n)+)/.exec(help) || [];
  const commands = [...list.matchAll(/^ {2}(\w+)/gm)].map(([, name]) => name!);
  return [help, ...await Promise.all(commands.map((name) => helpOf(tool, name)))].join("\n");
}
let asked: Promise<Map<string, string>> | undefined;
/** The help of every tool, asked for once. */
function helps(): Promise<Map<string, string>> {
  return asked ??= Promise.all(tools.map(async (tool) => [tool, await helpOf(tool)] as const))
    .then((all) => new Map(all));
}

Deno.test("every flag that a README names exists in that tool's --help", async () => {
  const help = await helps();
  const nameOf = (tool: string) => tool.match(/([^/]+)\.ts$/)![1]!.replaceAll("_", "-");
  /** The tools that a task's name may mean in a README of this folder, the nearest first. */
  function named(task: string, folder: string): string[] {
    const { tasks = {} } = configs.get(folder) ?? {};
    const [, script] = /(\S+\.ts)\b/.exec((tasks[task] ?? "").split("&& ").at(-1)!) ?? [];
    if (script) return [folder + script];
    return tools.filter((tool) => nameOf(tool) === task);
  }
  const problems: string[] = [];
  for (const path of files.filter((path) => path.endsWith("README.md"))) {
    const folder = path.slice(0, -"README.md".length);
    const own = tools.filter((tool) => tool.startsWith(folder));
    for (const code of codeOf(read(path))) {
      const [, task] = /^(?:\$ )?deno task (?:-q )?([\w-]+)/.exec(code) ?? [];
      const meant = task ? named(task, folder) : code.startsWith("-") ? own : [];
      if (meant.length === 0) continue;
      for (const [flag] of code.matchAll(/(?<=^| )--?[a-z][\w-]*/g)) {
        if (task && flag === "-q" || flag === "--help") continue;
        const exists = meant.some((tool) => new RegExp(`${flag}\\b`).test(help.get(tool) ?? ""));
        if (!exists) problems.push(`${path}: ${flag} of ${code}`);
      }
    }
  }
  assertNone(problems);
});

/** The commands in a document: its code, at pipes and `&&` in parts. */
function codeOf(text: string): string[] {
  const blocks = [...text.matchAll(/^```\w*\n([^]*?)^```/gm)].flatMap(([, code]) =>
    code!.split("\n")
  );
  const inline = [...text.replace(/^```[^]*?^```/gm, "").matchAll(/`([^`\n]+)`/g)];
  return [...blocks, ...inline.map(([, code]) => code!)].flatMap((code) =>
    code.split(/ \| | && /).map((part) => part.trim())
  );
}

Deno.test("a tool that consumes names its dead-letter queue, and dead-letters knows it", async () => {
  const help = await helps();
  const problems: string[] = [];
  for (const tool of tools) {
    if (!consumes(tool)) continue;
    const [, name] = /Dead-letter queue: (<[^>]+>[^\s,]*(?:, such as \S+)?|\S+)/
      .exec(help.get(tool)!) ?? [];
    const example = name?.replace(/^<.*?(, such as |$)/, "");
    if (!name) problems.push(`${tool} --help names no dead-letter queue`);
    else if (example && !(example in queues)) problems.push(`${tool}: ${example} is not known`);
  }
  assertNone(problems);
});

/** Whether a tool, or a file of its folder that it imports, consumes a queue. */
function consumes(path: string, seen = new Set<string>()): boolean {
  if (seen.has(path)) return false;
  seen.add(path);
  const lib = /^import \{([^}]*)\} from "@event-sink\/lib"/m.exec(read(path))?.[1] ?? "";
  return /\b(consume|recv)\b/.test(lib) ||
    sources.get(path)!.some((target) => sources.has(target) && consumes(target, seen));
}

/**
 * The tools that are packaged. They are the tasks of the folders, whose commands say which file runs with which permissions.
 * @module
 */

/** A tool. */
export interface PackagedTool {
  /** Name of its executable, such as `consumer-mongo`. */
  name: string;
  /** Its folder, from the repository's root. */
  folder: string;
  /** Its entry file, from the repository's root. */
  entry: string;
  /** The permissions of its task, as flags. */
  permissions: string[];
  /** Whether it runs until it is stopped. */
  longRunning: boolean;
}

const root = new URL("../", import.meta.url);

/** Reads the tasks of all folders. */
export function packagedTools(): PackagedTool[] {
  const { workspace, tasks } = configuration("");
  const folders = (workspace as string[]).map((folder) => folder.replace("./", ""))
    .filter((folder) => /^(prototypes|consumers)\/|^(pipeline|reactor)$/.test(folder));
  return [
    ...folders.flatMap((folder) => toolsIn(folder, configuration(folder).tasks)),
    ...toolsIn("", { up: tasks.up }),
  ];
}

function configuration(folder: string) {
  return JSON.parse(Deno.readTextFileSync(new URL(`${folder}/deno.json`.replace(/^\//, ""), root)));
}

function toolsIn(folder: string, tasks: Record<string, string>): PackagedTool[] {
  return Object.entries(tasks).flatMap(([task, command]) => {
    // Those with a shell's means start several tools, and those with arguments are another one's examples.
    const [, flags, file] =
      /^deno run ((?:--\S+(?: eval -p '[^']*'\)\S*)? )*)(\S+\.ts)$/.exec(command) ?? [];
    if (flags === undefined || file === undefined) return [];
    const entry = folder === "" ? file : `${folder}/${file}`;
    const text = Deno.readTextFileSync(new URL(entry, root));
    if (/createCrew\(/.test(text)) return [];
    const permissions = flags.trim().split(/ (?=--)/).filter((flag) => flag !== "--no-prompt");
    const longRunning = /longRunning: true|await recv\(/.test(text) || task === "up";
    return { name: nameOf(folder, task), folder, entry, permissions, longRunning };
  });
}

/** `consumers/mongo` and its task `recv` to `consumer-mongo`; a sender ends with `-send`, one of several tools of a folder with its task. */
function nameOf(folder: string, task: string): string {
  if (folder === "") return `event-sink-${task}`;
  const name = folder.replace("prototypes/elastic-workers", "elastic")
    .replace("consumers/products", "products")
    .replace(/^(prototype|consumer)s\//, "$1-");
  return task === "recv" || name.endsWith(`-${task}`) ? name : `${name}-${task}`;
}

/**
 * A handler for processors: reads GitHub webhook payloads and keeps who did what, where, in the SQLite file activity.db.
 *
 * Run: `deno task github-activity`, and `deno run --allow-net examples/post_webhooks.ts` to post real payloads.
 * @module
 */
import { DatabaseSync } from "node:sqlite";

let database: DatabaseSync | undefined;

/** At the first task, not when the module is loaded. */
function open(): DatabaseSync {
  const database = new DatabaseSync("activity.db", { timeout: 5000 });
  database.exec(`
    PRAGMA journal_mode = WAL;
    CREATE TABLE IF NOT EXISTS activity (
      object TEXT PRIMARY KEY, repository TEXT, sender TEXT NOT NULL, kind TEXT NOT NULL, action TEXT, title TEXT, url TEXT)`);
  return database;
}

interface Payload {
  action?: string;
  sender?: { login?: string };
  repository?: { full_name?: string };
  commits?: { message: string; url: string }[];
  [part: string]: unknown;
}

/** The parts of a payload that name what it is about, the most telling first. */
const kinds = [
  "pull_request",
  "issue",
  "release",
  "workflow_run",
  "check_run",
  "deployment",
  "discussion",
  "commits",
  "label",
  "milestone",
  "team",
  "package",
  "installation",
];

/** Called by the processor for every task. The same object may come several times: it is one row. */
export function process({ id, content }: { id: string; content: unknown }): void {
  const payload = content as Payload;
  const sender = payload?.sender?.login;
  if (!sender) throw new Error("the object is no GitHub webhook payload: it has no sender");
  const kind = kinds.find((kind) => payload[kind] !== undefined) ?? "other";
  const part = kind === "commits" ? payload.commits?.at(-1) : payload[kind];
  const { title, name, message, html_url, url } = (part ?? {}) as Record<string, unknown>;
  database ??= open();
  database.prepare("INSERT OR REPLACE INTO activity VALUES (?, ?, ?, ?, ?, ?, ?)").run(
    id,
    payload.repository?.full_name ?? null,
    sender,
    kind,
    payload.action ?? null,
    text(title ?? name ?? message),
    text(html_url ?? url),
  );
}

function text(value: unknown): string | null {
  return typeof value === "string" ? value : null;
}

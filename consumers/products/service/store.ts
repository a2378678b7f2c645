/**
 * Service's copy of the products, and who likes what. All SQL of `service` is here, but for the outbox's: another database replaces both.
 * @module
 */
import type { ProductEvent, StoredEvent } from "../event.ts";
import { groupCommits, openDatabase, type Outbox, outboxOf } from "@event-sink/lib/outbox";
import { columns, type Page, pageOf, type Product, productOf, type Row } from "../product.ts";

/** The store. Dispose it to close it. */
export interface ServiceStore extends Disposable {
  /** What the broker has not confirmed yet. */
  readonly outbox: Outbox;
  /** Products in the order of their ids, those behind the id `after`. */
  list(range: { limit: number; after: number }): Page;
  get(id: number): Product | undefined;
  /** Brings the copy up to date; false when it knows this version or a later one. */
  apply(event: ProductEvent): Promise<boolean>;
  /**
   * Stores that a user likes a product, and tells it; false when the user did before.
   *
   * @param cause what it belongs to the trace of, such as the request's headers
   */
  like(id: number, user: number, cause: object): Promise<boolean>;
  /** Empties the copy, and asks for everything. */
  rebuild(): Promise<void>;
}

/**
 * Opens the store in a file, created when missing.
 *
 * @throws when the file cannot be opened or is no SQLite database
 */
export function openServiceStore(file: string): ServiceStore {
  const database = openDatabase(
    file,
    `CREATE TABLE IF NOT EXISTS products (${columns});
     CREATE TABLE IF NOT EXISTS product_users (product INTEGER, user INTEGER, PRIMARY KEY (product, user)) WITHOUT ROWID`,
  );
  const outbox = outboxOf(database);
  const write = groupCommits(database);
  const live = "SELECT * FROM products WHERE deleted = 0";
  const list = database.prepare(`${live} AND id > ? ORDER BY id LIMIT ?`);
  const byId = database.prepare(`${live} AND id = ?`);
  const stored = database.prepare("SELECT version, deleted FROM products WHERE id = ?");
  const put = database.prepare(
    `INSERT OR REPLACE INTO products (id, version, deleted, title, description, price, image, likes, created_at)
     VALUES (?, ?, 0, ?, ?, ?, ?, ?, ?)`,
  );
  const bury = database.prepare(
    `INSERT OR REPLACE INTO products (id, version, deleted, title, price) VALUES (?, ?, 1, '', '')`,
  );
  const addLike = database.prepare("INSERT OR IGNORE INTO product_users VALUES (?, ?)");

  function tell(event: StoredEvent, cause?: object) {
    outbox.add(JSON.stringify(event), cause);
  }
  return {
    outbox,
    list: ({ limit, after }) => pageOf(list.iterate(after, limit + 1), limit),
    get(id) {
      const row = byId.get(id);
      return row && productOf(row as unknown as Row);
    },
    apply: (event) =>
      write(() => {
        const id = event.type === "product_deleted" ? event.id : event.product.id;
        const before = stored.get(id) as { version: number; deleted: number } | undefined;
        // Older producers tell no version: their events count as they come, but bring back nothing that is deleted.
        const old = event.version === undefined
          ? before?.deleted === 1
          : before && event.version <= before.version;
        if (old) return false;
        const version = event.version ?? before?.version ?? 0;
        if (event.type === "product_deleted") bury.run(id, version);
        else {
          const { title, description, price, image, likes, created_at } = event.product;
          put.run(id, version, title, description, price, image, likes, created_at);
        }
        return true;
      }),
    like: (id, user, cause) =>
      write(() => {
        if (addLike.run(id, user).changes === 0) return false;
        const body = { id, user_id: user };
        tell({ type: "product_liked", id: `like-${id}-${user}`, body }, cause);
        return true;
      }),
    rebuild: () =>
      write(() => {
        database.exec("DELETE FROM products");
        tell({ type: "products_requested", id: crypto.randomUUID(), body: {} });
      }),
    [Symbol.dispose]: () => database.close(),
  };
}

/**
 * Admin's products. A change and the event that tells of it are stored in one transaction. All SQL of `admin` is here, but for the outbox's: another
 * database replaces this file and the outbox.
 * @module
 */
import type { StoredEvent } from "../event.ts";
import { groupCommits, openDatabase, type Outbox, outboxOf } from "@event-sink/lib/outbox";
import { columns, type Page, pageOf, type Product, productOf, type Row } from "../product.ts";
import type { ProductFields } from "../validation.ts";

/** The store. Dispose it to close it. The `cause` of a change is what it belongs to the trace of, such as the request's headers. */
export interface AdminStore extends Disposable {
  /** The events that the broker has not confirmed yet. */
  readonly outbox: Outbox;
  /** Products in the order of their ids, those behind the id `after`. */
  list(range: { limit: number; after: number }): Page;
  get(id: number): Product | undefined;
  /** The first product with this title. */
  byTitle(title: string): Product | undefined;
  /** Any product. */
  random(): Product | undefined;
  create(fields: ProductFields, cause: object): Promise<Product>;
  /** Changes the fields that are given; undefined when there is no such product. */
  update(id: number, fields: ProductFields, cause: object): Promise<Product | undefined>;
  /** Whether there was such a product. */
  remove(id: number, cause: object): Promise<boolean>;
  /** Counts that a user likes a product, once; undefined when it was counted before or the product is deleted, null when there was never one. */
  like(id: number, user: number, cause: object | undefined): Promise<Product | undefined | null>;
  /** Makes {@linkcode AdminStore.tellSome} begin at the first product. */
  tellEverything(): Promise<void>;
  /** Adds the events of the next products, 500 at most, deleted ones too; false when there are none to tell. */
  tellSome(): Promise<boolean>;
}

const STEP = 500;

/**
 * Opens the store in a file, created when missing.
 *
 * @throws when the file cannot be opened or is no SQLite database
 */
export function openAdminStore(file: string): AdminStore {
  const database = openDatabase(
    file,
    `CREATE TABLE IF NOT EXISTS products (${columns});
     CREATE INDEX IF NOT EXISTS titles ON products (title);
     CREATE TABLE IF NOT EXISTS likes (product INTEGER, user INTEGER, PRIMARY KEY (product, user)) WITHOUT ROWID;
     CREATE TABLE IF NOT EXISTS telling (one INTEGER PRIMARY KEY, after INTEGER NOT NULL)`,
  );
  const outbox = outboxOf(database);
  const write = groupCommits(database);
  const live = "SELECT * FROM products WHERE deleted = 0";
  const list = database.prepare(`${live} AND id > ? ORDER BY id LIMIT ?`);
  const byId = database.prepare(`${live} AND id = ?`);
  const byTitle = database.prepare(`${live} AND title = ? ORDER BY id LIMIT 1`);
  // From a random id on, so that no more than a few rows are read; the first product follows the last.
  const random = database.prepare(`${live} AND id >= ? ORDER BY id LIMIT 1`);
  const highest = database.prepare("SELECT max(id) AS id FROM products");
  const known = database.prepare("SELECT id FROM products WHERE id = ?");
  const insert = database.prepare(
    `INSERT INTO products (version, title, description, price, image, created_at)
     VALUES (1, ?, ?, ?, ?, ?) RETURNING *`,
  );
  const update = database.prepare(
    `UPDATE products SET version = version + 1, title = ?, description = ?, price = ?, image = ?
     WHERE id = ? RETURNING *`,
  );
  const bury = database.prepare(
    `UPDATE products SET version = version + 1, deleted = 1, title = '', description = NULL, price = '', image = NULL,
     likes = 0, created_at = NULL
     WHERE id = ? AND deleted = 0 RETURNING *`,
  );
  const forgetLikes = database.prepare("DELETE FROM likes WHERE product = ?");
  const addLike = database.prepare("INSERT OR IGNORE INTO likes (product, user) VALUES (?, ?)");
  const countLike = database.prepare(
    "UPDATE products SET version = version + 1, likes = likes + 1 WHERE id = ? RETURNING *",
  );
  const begin = database.prepare("INSERT OR REPLACE INTO telling (one, after) VALUES (1, 0)");
  const told = database.prepare("SELECT after FROM telling");
  const goOn = database.prepare("UPDATE telling SET after = ?");
  const end = database.prepare("DELETE FROM telling");
  const next = database.prepare("SELECT * FROM products WHERE id > ? ORDER BY id LIMIT ?");

  function get(id: number): Product | undefined {
    const row = byId.get(id);
    return row && productOf(row as unknown as Row);
  }
  function tell(type: string, row: unknown, cause?: object): Product {
    const { id, version, deleted } = row as Row;
    const product = productOf(row as Row);
    const event: StoredEvent = {
      type: deleted ? "product_deleted" : type,
      id: `product-${id}.${version}`,
      version,
      body: deleted ? { id } : product,
    };
    outbox.add(JSON.stringify(event), cause);
    return product;
  }

  return {
    outbox,
    list: ({ limit, after }) => pageOf(list.iterate(after, limit + 1), limit),
    get,
    byTitle(title) {
      const row = byTitle.get(title);
      return row && productOf(row as unknown as Row);
    },
    random() {
      const from = Math.ceil(Math.random() * Number(highest.get()!.id));
      const row = random.get(from) ?? random.get(0);
      return row && productOf(row as unknown as Row);
    },
    create: ({ title, description = null, price, image = null }, cause) =>
      write(() => {
        const now = new Date().toISOString().replace("Z", "000Z");
        return tell("product_created", insert.get(title, description, price, image, now), cause);
      }),
    update: (id, fields, cause) =>
      write(() => {
        const before = get(id);
        if (!before) return undefined;
        const { title, description, price, image } = { ...before, ...fields };
        return tell("product_updated", update.get(title, description, price, image, id), cause);
      }),
    remove: (id, cause) =>
      write(() => {
        const row = bury.get(id);
        if (!row) return false;
        forgetLikes.run(id);
        tell("product_deleted", row, cause);
        return true;
      }),
    like: (id, user, cause) =>
      write(() => {
        if (!known.get(id)) return null;
        if (!get(id) || addLike.run(id, user).changes === 0) return undefined;
        return tell("product_updated", countLike.get(id), cause);
      }),
    tellEverything: () => write(() => void begin.run()),
    tellSome: () =>
      write(() => {
        const progress = told.get();
        if (!progress) return false;
        const rows = next.all(progress.after!, STEP) as unknown as Row[];
        for (const row of rows) tell("product_created", row);
        if (rows.length < STEP) end.run();
        else goOn.run(rows.at(-1)!.id);
        return true;
      }),
    [Symbol.dispose]: () => database.close(),
  };
}

/**
 * A product, and the row that both databases keep of it.
 * @module
 */

/** A product as it is answered and published. */
export interface Product {
  id: number;
  title: string;
  description: string | null;
  /** Two decimals. */
  price: string;
  image: string | null;
  /** How many users like it. */
  likes: number;
  /** When it was made, with microseconds; null when an older producer has not said. */
  created_at: string | null;
}

/**
 * Columns of both tables `products`. `version` grows with every change; what is deleted stays as a row with its version, so that a late event
 * does not bring it back.
 */
export const columns = `
  id INTEGER PRIMARY KEY AUTOINCREMENT, version INTEGER NOT NULL, deleted INTEGER NOT NULL DEFAULT 0,
  title TEXT NOT NULL, description TEXT, price TEXT NOT NULL, image TEXT, likes INTEGER NOT NULL DEFAULT 0,
  created_at TEXT`;

/** A row of `products`. */
export interface Row extends Product {
  version: number;
  /** 0 or 1. */
  deleted: number;
}

/** The product in a row. */
export function productOf(row: Row): Product {
  const { version: _, deleted: __, ...product } = row;
  return product;
}

/** Most products that one answer lists, and about how many characters. */
export const LIST_LIMIT = 1000;
const LIST_LENGTH = 8_000_000;

/** Products of one answer, and the id to go on after when there are more. */
export interface Page {
  products: Product[];
  next: number | undefined;
}

/** Takes a page from rows, of which there is one more than asked for when there are more. */
export function pageOf(rows: Iterable<unknown>, limit: number): Page {
  const products: Product[] = [];
  let length = 0;
  for (const row of rows) {
    if (products.length === limit || length > LIST_LENGTH) {
      return { products, next: products.at(-1)!.id };
    }
    const product = productOf(row as Row);
    products.push(product);
    length += JSON.stringify(product).length;
  }
  return { products, next: undefined };
}

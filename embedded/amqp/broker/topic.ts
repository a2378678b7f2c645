/**
 * Matching of topic bindings by a trie of words: `*` stands for one word, `#` for any number of them
 * (spec 3.1.3.3; RabbitMQ "Topic exchange").
 * @module
 */

interface Node<T> {
  words: Map<string, Node<T>>;
  values: Set<T>;
}

function makeNode<T>(): Node<T> {
  return { words: new Map(), values: new Set() };
}

/** The words of a pattern or a key. An empty one has none, as in RabbitMQ. */
function wordsOf(text: string): string[] {
  return text === "" ? [] : text.split(".");
}

/**
 * Patterns with values. `match()` costs at most the words of the key times the nodes of the trie that it can be in: for keys
 * and patterns of 255 bytes a few thousand steps, however many `#` they have.
 */
export class TopicTrie<T> {
  private readonly root: Node<T> = makeNode();

  add(pattern: string, value: T): void {
    let node = this.root;
    for (const word of wordsOf(pattern)) {
      let next = node.words.get(word);
      if (!next) node.words.set(word, next = makeNode());
      node = next;
    }
    node.values.add(value);
  }

  remove(pattern: string, value: T): void {
    const words = wordsOf(pattern);
    const path: Node<T>[] = [this.root];
    for (const word of words) {
      const next = path.at(-1)!.words.get(word);
      if (!next) return;
      path.push(next);
    }
    path.at(-1)!.values.delete(value);
    for (let i = words.length; i > 0; i--) {
      const node = path[i]!;
      if (node.values.size > 0 || node.words.size > 0) break;
      path[i - 1]!.words.delete(words[i - 1]!);
    }
  }

  /** The values of all patterns that match, each once per pattern. */
  match(key: string): Set<T> {
    const found = new Set<T>();
    // A node is visited once per position: without it `#.#.#` would take exponential time.
    const seen = new Set<Node<T>>();
    const words = wordsOf(key);
    let level: Node<T>[] = [];
    const reach = (next: Node<T>[], node: Node<T>) => {
      if (seen.has(node)) return;
      seen.add(node);
      next.push(node);
      // `#` may stand for no word at all.
      const hash = node.words.get("#");
      if (hash) reach(next, hash);
    };
    reach(level, this.root);
    const hashes = new Set<Node<T>>();
    for (const word of words) {
      const next: Node<T>[] = [];
      seen.clear();
      for (const node of level) {
        const hash = node.words.get("#");
        if (hash) hashes.add(hash);
        const exact = node.words.get(word);
        if (exact) reach(next, exact);
        const star = node.words.get("*");
        if (star && star !== exact) reach(next, star);
      }
      // A `#` once reached takes any further word.
      for (const hash of hashes) reach(next, hash);
      level = next;
    }
    for (const node of level) for (const value of node.values) found.add(value);
    return found;
  }
}

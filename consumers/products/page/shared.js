/** What both pages do: keep a list of products that follows the server's events. */

/** Milliseconds without a sign of life until the connection is taken for dead, though nobody has closed it. */
const SILENCE = 12_000;
/** Milliseconds between two readings of the list. */
const PAUSE = 200;

const list = document.querySelector("#products");
const connection = document.querySelector("#connection");
const problem = document.querySelector("#problem");
/** The products as they are shown: JSON by id; undefined before the first reading. */
let shown;

/** Makes an element. Text is never taken for HTML. */
export function element(name, { text, ...properties } = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  if (text !== undefined) made.textContent = text;
  made.append(...children);
  return made;
}

/** Sends a request and returns its answer; shows what went wrong, and returns undefined, unless it is said field by field. */
export async function request(method, path, body) {
  problem.textContent = "";
  try {
    const answer = await fetch(path, {
      method,
      body: body && JSON.stringify(body),
      headers: body && { "content-type": "application/json" },
    });
    const json = answer.status === 204 ? {} : await answer.json();
    if (answer.ok || (answer.status === 400 && !json.detail)) return { ok: answer.ok, json };
    problem.textContent = json.detail ?? `${answer.status}`;
  } catch (error) {
    problem.textContent = `The service does not answer: ${error.message}`;
  }
}

/**
 * Shows the products, and shows them again whenever there is news; what has changed is marked.
 *
 * @param buttons the buttons of a product
 * @param onNews is told each event
 */
export function follow(buttons, onNews = () => {}) {
  let source;
  let silence;
  let reading = false;
  let again = false;

  async function read() {
    if (reading) return void (again = true);
    reading = true;
    try {
      const answer = await fetch("/api/products/?limit=1000");
      show(await answer.json(), answer.headers.has("link"), buttons);
      connection.textContent = "Live";
      connection.className = "live";
    } catch {
      lost();
    }
    await new Promise((resolve) => setTimeout(resolve, PAUSE));
    reading = false;
    if (again) {
      again = false;
      read();
    }
  }
  function lost() {
    connection.textContent = "Not connected, trying again";
    connection.className = "";
  }
  function alive() {
    clearTimeout(silence);
    silence = setTimeout(() => {
      lost();
      connect();
    }, SILENCE);
  }
  function connect() {
    source?.close();
    source = new EventSource("/api/products/live");
    source.onopen = read;
    source.onerror = () => {
      lost();
      if (source.readyState === EventSource.CLOSED) setTimeout(connect, 1000);
    };
    source.onmessage = ({ data }) => {
      alive();
      onNews(JSON.parse(data));
      read();
    };
    source.addEventListener("alive", alive);
    alive();
  }
  connect();
}

function show(products, more, buttons) {
  const before = shown;
  shown = new Map(products.map((product) => [product.id, JSON.stringify(product)]));
  const old = new Map([...list.children].map((item) => [Number(item.dataset.id), item]));
  const items = products.map((product) => {
    const { id, title, description, price, likes } = product;
    if (before?.get(id) === shown.get(id)) return old.get(id);
    const item = element(
      "li",
      { className: before ? "new" : "" },
      element("span", { className: "id", text: id }),
      element(
        "span",
        { className: "title", text: title },
        element("small", { text: description ?? "" }),
      ),
      element(
        "span",
        { className: "price", text: price },
        element("small", { className: "likes", text: `${likes} likes` }),
      ),
      element("span", { className: "buttons" }, ...buttons(product)),
    );
    item.dataset.id = id;
    if (before) setTimeout(() => item.classList.remove("new"), 3000);
    return item;
  });
  list.replaceChildren(...items);
  document.querySelector("#count").textContent = more
    ? `The first ${products.length} products`
    : `${products.length} products`;
}

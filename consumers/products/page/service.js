import { element, follow, request } from "./shared.js";

const user = 1 + Math.floor(Math.random() * 1000);
document.querySelector("#user").textContent = user;

async function like({ id }) {
  const answer = await request("POST", `/api/products/${id}/like/`, { user_id: user });
  if (answer && !answer.ok) {
    document.querySelector("#problem").textContent = Object.values(answer.json).flat().join(" ");
  }
}

follow(
  (product) => [element("button", { text: "Like", onclick: () => like(product) })],
  ({ type, id }) => {
    document.querySelector("#event").textContent = `${type} ${id}`;
  },
);

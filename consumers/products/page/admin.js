import { element, follow, request } from "./shared.js";

const form = document.querySelector("#form");
const save = document.querySelector("#save");
const cancel = document.querySelector("#cancel");
const fields = ["title", "price", "description", "image"];
/** The id of the product in the form; undefined for a new one. */
let editing;

function edit(product) {
  editing = product?.id;
  for (const name of fields) form.elements[name].value = product?.[name] ?? "";
  save.textContent = product ? "Save" : "Add";
  cancel.hidden = !product;
  showErrors({});
}

function showErrors(errors) {
  for (const name of fields) {
    form.elements[name].nextElementSibling.textContent = errors[name]?.join(" ") ?? "";
  }
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const body = Object.fromEntries(fields.map((name) => [name, form.elements[name].value]));
  for (const name of ["description", "image"]) body[name] ||= null;
  const answer = await (editing
    ? request("PUT", `/api/products/${editing}/`, body)
    : request("POST", "/api/products/", body));
  if (answer?.ok) {
    edit(undefined);
  } else if (answer) {
    showErrors(answer.json);
  }
});
cancel.addEventListener("click", () => edit(undefined));

follow((product) => [
  element("button", { text: "Edit", onclick: () => edit(product) }),
  element("button", {
    text: "Delete",
    onclick: () => request("DELETE", `/api/products/${product.id}/`),
  }),
]);

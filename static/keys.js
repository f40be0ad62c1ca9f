// The key "/" leads to the search, which shows what it finds while somebody types: arrow keys walk through it, Escape
// closes it. All words come from the server.

const DELAY = 200; // milliseconds without a key, until the server is asked

const isTyping = (element) => element.matches("input, textarea, select") || element.isContentEditable;

document.addEventListener("keydown", (event) => {
  if (event.key !== "/" || event.ctrlKey || event.altKey || event.metaKey || isTyping(event.target)) return;
  const field = document.querySelector(".search-box input[type=search]");
  if (field === null) return;
  event.preventDefault();
  field.focus();
  field.select();
});

const element = (name, text, more = {}) => Object.assign(document.createElement(name), { textContent: text, ...more });

function show(place, answer) {
  const lists = answer.kinds.map((kind) => {
    const list = document.createElement("ul");
    for (const row of kind.rows) {
      const item = document.createElement("li");
      item.append(element("a", row.text, { href: row.address }), " ", element("small", row.note));
      list.append(item);
    }
    const part = document.createElement("section");
    part.append(element("h2", kind.name), list);
    return part;
  });
  place.replaceChildren(...lists, element("a", answer.all.text, { href: answer.all.address, className: "all" }));
  place.hidden = false;
}

for (const form of document.querySelectorAll(".search-box")) {
  const field = form.elements.q;
  const place = form.querySelector(".search-found");
  let timer;
  let asked = 0;

  const ask = async () => {
    const turn = ++asked;
    const term = field.value.trim();
    if (term.length < 2) {
      place.hidden = true;
      return;
    }
    try {
      const address = `${form.action}?${new URLSearchParams({ q: term, format: "json" })}`;
      const response = await fetch(address, { redirect: "error" });
      if (!response.ok) throw new Error(response.statusText);
      const answer = await response.json();
      if (turn === asked && form.contains(document.activeElement)) show(place, answer);
    } catch {
      if (turn === asked) place.hidden = true; // Enter still opens the page, which says what is wrong
    }
  };

  field.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(ask, DELAY);
  });
  field.addEventListener("focus", () => {
    if (place.childElementCount && field.value.trim().length > 1) place.hidden = false;
  });
  form.addEventListener("focusout", (event) => {
    if (!form.contains(event.relatedTarget)) place.hidden = true;
  });
  form.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && !place.hidden) {
      event.preventDefault(); // which would empty the field: what was typed stays
      field.focus();
      place.hidden = true;
    }
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step === undefined || place.hidden) return;
    event.preventDefault();
    const stops = [field, ...place.querySelectorAll("a")];
    stops[(stops.indexOf(document.activeElement) + step + stops.length) % stops.length].focus();
  });
}

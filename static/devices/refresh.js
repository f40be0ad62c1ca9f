// Keeps the devices on a page current: fetches the page every five seconds, and swaps the rows of the list and the
// parts marked data-refresh. It waits while the user selects rows or text, or has the focus in one of them, and while a
// button marked data-pause is pressed.

import { clock } from "./clock.js";
import { released } from "./pointer.js";

const INTERVAL = 5000;
const PARTS = "#result_list > tbody, [data-refresh][id]";

const note = (text, stale) => {
  for (const line of document.querySelectorAll("[data-refreshed]")) {
    line.textContent = text;
    line.classList.toggle("stale", stale);
  }
};

const isBusy = () =>
  document.hidden ||
  document.querySelector('[data-pause][aria-pressed="true"]') !== null ||
  document.querySelector("input.action-select:checked") !== null ||
  !document.getSelection().isCollapsed ||
  [...document.querySelectorAll(PARTS)].some((part) => part.contains(document.activeElement));

function swap(fresh) {
  const hasList = (page) => page.querySelector("#result_list") !== null;
  if (hasList(fresh) !== hasList(document)) {
    location.reload(); // the list became empty, or has rows again
    return;
  }
  for (const part of document.querySelectorAll(PARTS)) {
    const next = fresh.querySelector(part.id ? `#${part.id}` : "#result_list > tbody");
    if (next === null) continue;
    // The admin's script holds on to the check boxes: they stay, the cells around them change.
    for (const box of part.querySelectorAll("input.action-select")) {
      next.querySelector(`input.action-select[value="${CSS.escape(box.value)}"]`)?.replaceWith(box);
    }
    part.replaceChildren(...next.childNodes);
  }
}

// A page may say itself as of when it is, in data-refreshed: the server's clock, in its reader's time zone.
const lineOf = (page) => page.querySelector("[data-refreshed]");
const momentOf = (page) => lineOf(page)?.dataset.refreshed || clock(Date.now());

let updated = momentOf(document);
async function refresh() {
  if (isBusy()) return;
  try {
    const response = await fetch(location.href, { headers: { "X-Refresh": "1" }, redirect: "error" });
    if (!response.ok) throw new Error(response.statusText);
    const fresh = new DOMParser().parseFromString(await response.text(), "text/html");
    await released();
    if (isBusy()) return;
    swap(fresh);
    document.dispatchEvent(new Event("refreshed"));
    updated = momentOf(fresh);
    note(lineOf(fresh)?.textContent || interpolate(gettext("Updated %s"), [updated]), false);
  } catch {
    const text = gettext("Not updated since %s: the server does not answer, or you are signed out.");
    note(interpolate(text, [updated]), true);
  }
}

for (const button of document.querySelectorAll("[data-pause]")) {
  button.addEventListener("click", () => {
    button.setAttribute("aria-pressed", String(button.getAttribute("aria-pressed") === "false"));
    refresh(); // at once, if it was let go
  });
  button.hidden = false; // it works from here on
}

if (document.querySelector("[data-refreshed]")) setInterval(refresh, INTERVAL);

// A second click on a button that posts does nothing until the page has changed: it would do everything twice, or show
// what the second request was told.

const PATIENCE = 30_000; // ms, then the server did not answer, or the person stopped it
const DOWNLOADS = 3_000; // ms, for a form whose answer is a file: then the page does not change

document.addEventListener("submit", (event) => {
  const form = event.target;
  // A script that sends the form itself has its own guard.
  if (event.defaultPrevented || form.getAttribute("method")?.toLowerCase() !== "post") return;
  const button = event.submitter ?? form; // other buttons of a list do something else
  if (button.getAttribute("aria-busy") === "true") {
    event.preventDefault();
    return;
  }
  button.setAttribute("aria-busy", "true");
  setTimeout(() => button.removeAttribute("aria-busy"), "downloads" in form.dataset ? DOWNLOADS : PATIENCE);
});

// A page out of the browser's history may post again.
addEventListener("pageshow", (event) => {
  if (!event.persisted) return;
  for (const button of document.querySelectorAll("form[aria-busy], form [aria-busy]")) button.removeAttribute("aria-busy");
});

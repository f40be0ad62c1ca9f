// Prints the page; an inline handler would break the content security policy.
for (const button of document.querySelectorAll("[data-print]")) {
  button.addEventListener("click", () => window.print());
}

// Copies the text of the element that a button names. If the browser forbids that, the text stays selected, to be
// copied by hand. A button is hidden until it works.
for (const button of document.querySelectorAll("[data-copy]")) {
  button.addEventListener("click", () => {
    getSelection().selectAllChildren(document.getElementById(button.dataset.copy));
    // Not navigator.clipboard: that is missing without HTTPS, and may not answer while the window has no focus.
    button.textContent = document.execCommand("copy") ? gettext("Copied") : gettext("Selected");
  });
  button.hidden = false;
}

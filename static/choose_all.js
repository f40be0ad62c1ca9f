// A box in the head of a table chooses all boxes below it. It is hidden until it works.
for (const all of document.querySelectorAll("[data-choose-all]")) {
  all.addEventListener("change", () => {
    for (const box of all.closest("table").querySelectorAll("tbody input[type=checkbox]")) box.checked = all.checked;
  });
  all.hidden = false;
}

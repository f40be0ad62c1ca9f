// The field above a long list of choices of a filter shows those that contain what is typed. It is hidden until it works.
for (const place of document.querySelectorAll(".filter-search")) {
  const field = place.querySelector("input");
  const status = place.querySelector("[role=status]");
  const list = place.parentElement.querySelector("ul");
  const choices = [...list.children];

  field.addEventListener("input", () => {
    const term = field.value.trim().toLowerCase();
    for (const choice of choices) choice.hidden = !choice.textContent.toLowerCase().includes(term);
    status.textContent = choices.every((choice) => choice.hidden) ? status.dataset.none : "";
  });
  field.addEventListener("keydown", (event) => {
    const shown = choices.filter((choice) => !choice.hidden);
    if (event.key === "Enter" && field.value.trim() && shown.length) shown[0].querySelector("a").click();
  });
  place.hidden = false;
  const selected = list.querySelector(".selected");
  if (selected && selected.offsetTop + selected.offsetHeight > list.clientHeight) list.scrollTop = selected.offsetTop;
}

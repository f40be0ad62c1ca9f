/** Search in the guide: only the parts that have every word stay, with the words marked. */
const search = document.querySelector(".help-page search");
const field = search.querySelector("input");
const state = search.querySelector("[role=status]");
const article = document.querySelector(".help-page article");

// A part is a heading and what follows it, up to the next heading; before the first one is the introduction.
const parts = [];
for (const element of article.children) {
  const isHeading = element.matches("h2, h3");
  if (isHeading || parts.length === 0) parts.push({ heading: isHeading ? element : null, elements: [] });
  parts.at(-1).elements.push(element);
}
for (const [at, part] of parts.entries()) {
  part.text = part.elements.map((element) => element.textContent).join(" ").toLowerCase();
  part.link = part.heading && document.querySelector(`.help-page nav a[href="#${part.heading.id}"]`);
  if (part.heading?.matches("h3")) part.chapter = parts.slice(0, at).findLast(({ heading }) => heading?.matches("h2"));
}

function mark(words) {
  if (!("highlights" in CSS)) return;
  CSS.highlights.delete("help-found");
  const ranges = [];
  const walker = document.createTreeWalker(article, NodeFilter.SHOW_TEXT);
  while (words.length > 0 && walker.nextNode()) {
    const node = walker.currentNode;
    if (node.parentElement.closest("[hidden]")) continue;
    const text = node.data.toLowerCase();
    for (const word of words) {
      for (let start = text.indexOf(word); start !== -1; start = text.indexOf(word, start + word.length)) {
        const range = new Range();
        range.setStart(node, start);
        range.setEnd(node, start + word.length);
        ranges.push(range);
      }
    }
  }
  CSS.highlights.set("help-found", new Highlight(...ranges));
}

function show() {
  const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
  const found = parts.filter(({ text }) => words.every((word) => text.includes(word)));
  const chapters = new Set(found.map(({ chapter }) => chapter));
  for (const part of parts) {
    const isFound = found.includes(part);
    // A chapter stays as the heading of its parts.
    for (const element of part.elements) element.hidden = !(isFound || (element === part.heading && chapters.has(part)));
    if (part.link) part.link.parentElement.hidden = part.elements[0].hidden;
  }
  state.textContent = words.length === 0 ? "" : interpolate(ngettext("%s part found", "%s parts found", found.length), [found.length]);
  mark(words);
}

field.addEventListener("input", show);
// A link of the text may lead to a part that is hidden.
addEventListener("hashchange", () => {
  if (document.querySelector(`[id="${CSS.escape(decodeURIComponent(location.hash.slice(1)))}"][hidden]`) === null) return;
  field.value = "";
  show();
  document.querySelector(location.hash).scrollIntoView();
});
search.hidden = false;

// Keeps the banner about the bridge current on every page, also where nothing else refreshes itself.

const INTERVAL = 15000;
const banner = document.getElementById("bridge-status");
let failures = 0;

async function poll() {
  if (document.hidden) return;
  let nodes;
  try {
    const response = await fetch(banner.dataset.poll, { redirect: "error", cache: "no-store" });
    if (!response.ok) throw new Error(response.statusText);
    nodes = new DOMParser().parseFromString(await response.text(), "text/html").body.childNodes;
    failures = 0;
  } catch {
    failures += 1;
    if (failures < 2) return; // a server that restarts
    const lost = document.createElement("div");
    lost.className = "bridge-banner";
    lost.setAttribute("role", "alert");
    lost.textContent = banner.dataset.lost;
    nodes = [lost];
  }
  const text = [...nodes].map((node) => node.textContent).join("");
  if (text.trim() !== banner.textContent.trim()) banner.replaceChildren(...nodes); // else it would be read out again
}

setInterval(poll, INTERVAL);

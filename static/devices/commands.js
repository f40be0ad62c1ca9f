// Keeps calls and commands on a page current. Calls from the socket (live.js) update their rows in place. Hints from
// the socket, and a slow clock, make the page fetch its parts again from the server. Parts are marked data-part; forms
// are not parts, so that nothing typed is ever lost.

import { clock } from "./clock.js";
import { connect } from "./live.js";
import { released } from "./pointer.js";

const THROTTLE = 500; // ms between two fetches, at least
const PATIENCE = 20_000; // ms until an unanswered fetch counts as failed
const CLOCK = 30_000; // ms: "3 min ago" grows old, and a lost socket must not freeze a page
const CLOCK_WITHOUT_SOCKET = 5_000;

const root = document.querySelector("[data-live]");

// --- rows ----------------------------------------------------------------------------------------

const words = root ? JSON.parse(root.dataset.words) : {};
const kinds = root ? JSON.parse(root.dataset.kinds) : {};
const rowOf = (id) => root.querySelector(`[data-call="${CSS.escape(id)}"]`);
// The newest frame of each call: a fetch that began before it must not turn the row back.
const seen = new Map();

// Frames are in English and name moments in UTC. Where that is not what the page says, the sentence comes with the next
// fetch; until then there is none, and progress is said here.
const isEnglish = document.documentElement.lang.startsWith("en");
const PROGRESS = {
  in_progress: gettext("The dock works on it: %s %."),
  paused: gettext("The dock has paused it: %s %."),
};
const isSaidByServer = (frame) => !isEnglish || (frame.status === "queued" && frame.queue);

function sentence(frame) {
  if (!isSaidByServer(frame)) return frame.text;
  const progress = PROGRESS[frame.status];
  return progress && frame.percent !== null ? interpolate(progress, [frame.percent]) : "…";
}

function show(row, frame) {
  const isNewer = frame.version > Number(row.dataset.version);
  if (!isNewer && (frame.version < Number(row.dataset.version) || isSaidByServer(frame))) return;
  row.dataset.version = frame.version;
  const state = row.querySelector("[data-state]");
  (state.querySelector("[data-word]") ?? state).textContent = words[frame.status] ?? frame.status;
  state.className = `call-state call-${kinds[frame.status] ?? ""}`;
  row.querySelector("[data-text]").textContent = sentence(frame);
  const progress = row.querySelector("[data-percent]");
  progress.hidden = !frame.is_open || frame.status === "queued";
  if (frame.percent === null) progress.removeAttribute("value");
  else progress.value = frame.percent;
}

function announce(text) {
  const line = root.querySelector("[data-announce]");
  if (line.textContent !== text) line.textContent = text;
}

function hear(frame) {
  const before = seen.get(frame.id);
  if (before && before.version >= frame.version) return;
  seen.set(frame.id, frame);
  const row = rowOf(frame.id);
  if (row === null) {
    // The page of one call or one batch ignores other calls of the dock or organization.
    const batch = root.dataset.batch;
    if (batch ? frame.batch === batch : root.hasAttribute("data-every-call")) refetch();
    return;
  }
  const wasOpen = !row.querySelector("[data-percent]").hidden;
  show(row, frame);
  const said = isSaidByServer(frame) ? words[frame.status] : `${frame.label}: ${frame.text}`;
  if (!frame.is_open || !wasOpen) announce(said);
  if (!root.hasAttribute("data-every-call") || !frame.is_open || sentence(frame) === "…") refetch();
}

// --- parts ---------------------------------------------------------------------------------------

// The user marks text in it, or chooses in a list.
function isMarked(part) {
  const selection = document.getSelection();
  const focused = document.activeElement;
  if (focused?.matches("select") && part.contains(focused)) return true;
  return !selection.isCollapsed && part.contains(selection.anchorNode);
}

// The focus stays where it was: on the same button or link of the part, else on the part itself.
function replace(part, next) {
  const holds = part.contains(document.activeElement);
  const within = () => [...part.querySelectorAll("a, button, summary")];
  const at = holds ? within().indexOf(document.activeElement) : -1;
  const chosen = new Map([...part.querySelectorAll("select[name]")].map((list) => [list.name, list.value]));
  part.replaceChildren(...next.childNodes);
  for (const list of part.querySelectorAll("select[name]")) {
    if (chosen.has(list.name)) list.value = chosen.get(list.name);
  }
  if (!holds) return;
  const candidate = within()[at];
  (candidate && !candidate.disabled ? candidate : part).focus({ preventScroll: true });
}

function swapParts(within, page) {
  for (const part of within.querySelectorAll("[data-part][id]")) {
    const next = page.querySelector(`#${CSS.escape(part.id)}`);
    if (next === null || isMarked(part) || next.innerHTML === part.innerHTML) continue;
    replace(part, next);
  }
}

function swap(page) {
  swapParts(root, page);
  for (const row of root.querySelectorAll("[data-call]")) {
    const frame = seen.get(row.dataset.call);
    if (frame && frame.version > Number(row.dataset.version)) show(row, frame);
  }
  askForCode();
}

// DJI wants a code: the form for it opens once, with the user name in it.
let asked = root?.querySelector("[data-wants-code]") !== null;
function askForCode() {
  const wants = root.querySelector("[data-wants-code]");
  if (wants !== null && !asked) {
    const details = root.querySelector("#details-login");
    const user = details?.querySelector("[name=username]");
    if (details) details.open = true;
    if (user && !user.value) user.value = wants.dataset.wantsCode;
  }
  asked = wants !== null;
}

// Sections beside the root that change with it: each is fetched from the address in its data-also.
async function loadOthers() {
  for (const section of document.querySelectorAll("[data-also]")) {
    const response = await fetch(section.dataset.also, { redirect: "error", headers: { "X-Refresh": "1" } });
    if (!response.ok) throw new Error(`${response.status}`);
    const page = new DOMParser().parseFromString(await response.text(), "text/html");
    await released();
    swapParts(section, page);
  }
}

let latest = 0; // only the newest fetch is shown
async function load(url, options = {}) {
  const number = ++latest;
  const response = await fetch(url, {
    redirect: "error",
    headers: { "X-Refresh": "1" },
    signal: AbortSignal.timeout(PATIENCE),
    ...options,
  });
  if (!response.ok) throw new Error(`${response.status}`);
  const page = new DOMParser().parseFromString(await response.text(), "text/html");
  await released();
  if (number === latest) swap(page);
  fetched = Date.now();
  return page;
}

// One fetch at a time: on a slow line, each would be overtaken by the next and none shown.
let fetched = Date.now();
let tried = fetched;
let timer = null;
let isFetching = false;
let isOutdated = false; // the fetch that runs now
function refetch() {
  if (isFetching) isOutdated = true;
  else timer ??= setTimeout(fetchParts, Math.max(50, Math.max(fetched, tried) + THROTTLE - Date.now()));
}

async function fetchParts() {
  timer = null;
  if (document.hidden) return;
  isFetching = true;
  isOutdated = false;
  tried = Date.now();
  try {
    await load(root.dataset.source);
    await loadOthers();
    trouble = "";
  } catch {
    trouble = gettext("the server does not answer, or you are signed out");
  }
  isFetching = false;
  say();
  if (isOutdated) refetch();
}

// --- whether it is live --------------------------------------------------------------------------

// data-live has the path of each socket that the page follows: a batch may be of several organizations.
const paths = root?.dataset.live.split(" ").filter(Boolean) ?? [];
const sockets = new Map(paths.map((path) => [path, { name: "connecting", since: null, reason: "" }]));
let socket = { name: paths.length ? "connecting" : "none", since: null, reason: "" }; // the worst of them
let trouble = "";

function say() {
  const line = root.querySelector("[data-live-word]");
  const updated = clock(fetched);
  const said = { since: socket.since && clock(socket.since), reason: socket.reason, trouble, updated };
  const states = {
    live: gettext("live"),
    connecting: gettext("connecting…"),
    none: gettext("updated %(updated)s"),
    lost: socket.since
      ? gettext("not live since %(since)s (%(reason)s), updated %(updated)s")
      : gettext("not live (%(reason)s), updated %(updated)s"),
  };
  const text = trouble ? gettext("not updated since %(updated)s: %(trouble)s") : states[socket.name];
  line.textContent = interpolate(text, said, true);
  line.dataset.state = socket.name;
  line.classList.toggle("stale", trouble !== "" || socket.name === "lost");
}

function turn(path, told) {
  sockets.set(path, told);
  const states = [...sockets.values()];
  const state = ["lost", "connecting", "live"].flatMap((name) => states.filter((one) => one.name === name))[0];
  if (state.name !== socket.name && state.name !== "connecting" && socket.name !== "connecting") {
    announce(state.name === "live" ? gettext("This page is live again.") : gettext("This page is not live now."));
  }
  socket = state;
  say();
}

// --- commands ------------------------------------------------------------------------------------

async function send(form, button) {
  if (form.hasAttribute("aria-busy")) return; // a second click would be a second command
  const body = new FormData(form, button);
  const url = new URL(form.action);
  url.searchParams.set("fragment", "");
  form.setAttribute("aria-busy", "true");
  try {
    const page = await load(url, { method: "POST", body });
    const fields = form.querySelector("[data-fields]");
    const next = page.querySelector(`#${CSS.escape(form.id)} [data-fields]`);
    if (next !== null) fields.replaceChildren(...next.childNodes);
    const wrong = fields.querySelector(".command-error");
    if (wrong === null) form.closest("details")?.removeAttribute("open");
    else (wrong.closest(".command-field")?.querySelector("input, select") ?? button).focus();
  } catch {
    trouble = gettext("it is unknown whether the command was sent; see the list of commands");
    announce(trouble);
    say();
  } finally {
    form.removeAttribute("aria-busy");
  }
}

// --- start ---------------------------------------------------------------------------------------

if (root) {
  root.addEventListener("submit", (event) => {
    if (!event.target.matches("[data-command]")) return;
    event.preventDefault();
    send(event.target, event.submitter ?? event.target.querySelector("button"));
  });
  for (const path of paths) {
    connect({
      path,
      onSnapshot(snapshot) {
        for (const call of snapshot.service_calls) {
          const row = rowOf(call.id);
          if (row !== null) show(row, call);
        }
        refetch();
      },
      onFrame(frame) {
        if (frame.type === "service_call") hear(frame);
        else refetch();
      },
      onState: (state) => turn(path, state),
    });
  }
  say();
  setInterval(() => {
    if (Date.now() - Math.max(fetched, tried) >= (socket.name === "live" ? CLOCK : CLOCK_WITHOUT_SOCKET)) refetch();
  }, 1_000);
  document.addEventListener("visibilitychange", () => document.hidden || refetch());
}

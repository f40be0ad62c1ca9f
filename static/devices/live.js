// Follows a WebSocket of this server (docs/live.md): a snapshot, then frames, and a new snapshot if one may be missing.
// It never passes on anything older than before.
//
//   const follower = connect({ path: "/ws/devices/DOCK0001/", onSnapshot, onFrame, onState });
//
// onSnapshot(snapshot)  everything, to replace what is shown
// onFrame(frame)        one service call that changed, or a hint ("device", "account", "licenses"); a snapshot
//                       follows each hint
// onState(state)        {name: "connecting" | "live" | "lost", since: Date or null, reason: text, final: boolean};
//                       show only "live" as live; "lost" has the time of the last message; a final state
//                       does not change any more
// follower.refetch()    asks for a snapshot;  follower.close()  ends it

// Together below 30 s: by then a page must equal the database, or say that it does not.
const REFETCH_EVERY = 20_000; // ms
const PATIENCE = 8_000; // ms until a connection that does not answer counts as lost
const FIRST_PAUSE = 500; // ms before the first new attempt
const LONGEST_PAUSE = 15_000; // ms
const REASONS = {
  4400: gettext("this page asked for something that the server does not know"),
  4401: gettext("you are signed out"),
  4403: gettext("you may not see this any more, or are signed out"),
  4404: gettext("it is not there, or you may not see it"),
  4429: gettext("you have too many pages open: close some and load this one again"),
};

export function connect({ path, onSnapshot = () => {}, onFrame = () => {}, onState = () => {} }) {
  const url = new URL(path, location.href);
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  let socket = null;
  let versions = new Map(); // of each call that was passed on
  let heard = null; // when the last message came
  let attempts = 0;
  let ended = false;
  const timers = { poll: 0, patience: 0, retry: 0 };

  const tell = (name, reason = "", final = false) =>
    onState({ name, since: name === "lost" ? heard : null, reason, final });

  function open() {
    if (ended) return;
    if (heard === null) tell("connecting");
    const mine = new WebSocket(url);
    socket = mine;
    expectAnswer(mine);
    mine.onmessage = (message) => mine === socket && receive(JSON.parse(message.data));
    mine.onclose = (event) => mine === socket && lose(event.code);
  }

  function expectAnswer(mine) {
    clearTimeout(timers.patience);
    timers.patience = setTimeout(() => mine === socket && lose(0), PATIENCE);
  }

  function lose(code) {
    for (const timer of Object.values(timers)) clearTimeout(timer);
    const lost = socket;
    socket = null;
    lost.close();
    const final = code in REASONS;
    tell("lost", REASONS[code] ?? gettext("the server does not answer"), final);
    if (final) {
      ended = true;
      return;
    }
    const pause = Math.min(FIRST_PAUSE * 2 ** attempts, LONGEST_PAUSE);
    attempts += 1;
    timers.retry = setTimeout(open, pause * (0.5 + Math.random()));
  }

  function receive(frame) {
    heard = new Date();
    if (frame.type === "snapshot") {
      takeSnapshot(frame);
    } else if (frame.type === "service_call") {
      takeCall(frame);
    } else {
      onFrame(frame);
      refetch();
    }
  }

  function takeSnapshot(snapshot) {
    clearTimeout(timers.patience);
    clearTimeout(timers.poll);
    timers.poll = setTimeout(refetch, REFETCH_EVERY);
    attempts = 0;
    const told = snapshot.service_calls.map((call) => [call.id, call.version]);
    versions = new Map(snapshot.is_complete ? told : [...versions, ...told]);
    onSnapshot(snapshot);
    tell("live");
  }

  function takeCall(call) {
    const known = versions.get(call.id) ?? 0;
    if (call.version <= known) return;
    versions.set(call.id, call.version);
    onFrame(call);
    if (call.version > known + 1) refetch();
  }

  function refetch() {
    if (socket === null || socket.readyState !== WebSocket.OPEN) return;
    socket.send(JSON.stringify({ type: "refetch" }));
    expectAnswer(socket);
  }

  function close() {
    ended = true;
    for (const timer of Object.values(timers)) clearTimeout(timer);
    document.removeEventListener("visibilitychange", wake);
    window.removeEventListener("online", wake);
    const last = socket;
    socket = null;
    last?.close();
  }

  // A hidden page's timers are slow, and a laptop sleeps: a page that is shown again must not show the past.
  function wake() {
    if (document.hidden || ended) return;
    if (socket === null) {
      clearTimeout(timers.retry);
      open();
    } else {
      if (heard !== null && Date.now() - heard > REFETCH_EVERY + PATIENCE) tell("connecting");
      refetch();
    }
  }

  document.addEventListener("visibilitychange", wake);
  window.addEventListener("online", wake);
  open();
  return { refetch, close };
}

// The rows of one stream, kept equal to the server's tables by its websocket.
//
// Each frame is {"items": [...], "offset": "...", "upToDate": true}. Items are changes ({type, key, value, headers: {operation}}) or
// controls ({headers: {control}}). The last offset seen is sent when connecting again, so that only what was missed arrives.

const PATIENCE = [0.5, 1, 2, 4, 8, 10]; // seconds between attempts
const LOOK = 5000; // milliseconds between two looks at how the stream fares
const STANDINGS = {
  "no-worker": "No worker reads this stream",
  "up-to-date": "Nobody follows this stream",
  paused: "This stream is paused",
  halted: "This stream has halted",
  retrying: "The stream server cannot be reached; trying again",
  "needs-reset": "This stream needs a reset",
};
const REFUSALS = {
  4401: "Sign in to see this stream.",
  4403: "You may not read this stream.",
  4404: "There is no such stream.",
};

export class LiveRows {
  // onRows(rows, changed): after each batch of changes; changed is a set of "type/key", or null when everything may have changed.
  // onStatus(state, text): "connecting", "catching-up", "live", "waiting", "refused".
  constructor(stream, types, { onRows, onStatus }) {
    this.types = types;
    this.rows = this.nothing();
    this.staged = null; // a snapshot that is still arriving: the old rows stay on the page until it is complete
    this.changed = new Set();
    this.offset = null;
    this.attempts = 0;
    this.onRows = onRows;
    this.onStatus = onStatus;
    this.connection = ["connecting", "Connecting"];
    this.standing = null; // why the rows stand still although the socket is open
    this.report = `/state/streams/${encodeURIComponent(stream)}/`;
    const scheme = location.protocol === "https:" ? "wss:" : "ws:";
    this.url = new URL(`${scheme}//${location.host}/ws/state/${encodeURIComponent(stream)}/`);
    addEventListener("online", () => this.hurry());
    document.addEventListener("visibilitychange", () => document.hidden || this.hurry());
    this.connect();
    this.look();
  }

  // An open socket says nothing of the worker behind it: "Live" takes both.
  tell(connection = this.connection) {
    this.connection = connection;
    if (connection[0] === "live" && this.standing) this.onStatus("waiting", this.standing);
    else this.onStatus(...connection);
  }

  async look() {
    if (!document.hidden) {
      try {
        const answer = await fetch(this.report, { headers: { Accept: "application/json" } });
        if (answer.ok) this.standing = STANDINGS[(await answer.json()).status] ?? null;
      } catch { /* the socket tells that the server is away */ }
      this.tell();
    }
    setTimeout(() => this.look(), LOOK);
  }

  nothing() {
    return Object.fromEntries(this.types.map((type) => [type, new Map()]));
  }

  connect() {
    clearTimeout(this.timer);
    this.timer = null;
    this.tell(["connecting", "Connecting"]);
    const url = new URL(this.url);
    for (const type of this.types) url.searchParams.append("type", type);
    if (this.offset !== null) url.searchParams.set("offset", this.offset);
    const socket = new WebSocket(url);
    socket.onmessage = (event) => this.read(JSON.parse(event.data));
    socket.onclose = (event) => this.lost(event.code);
  }

  read({ items, offset, upToDate }) {
    this.attempts = 0;
    for (const item of items) {
      const control = item.headers.control;
      if (control === "snapshot-start") this.staged = this.nothing();
      else if (control === "snapshot-end") this.show(this.staged);
      else if (control === "reset") this.show(this.nothing());
      else this.apply(item);
    }
    // Within a snapshot there is nothing to resume from yet.
    if (this.staged === null && offset !== undefined) this.offset = offset;
    this.tell(upToDate ? ["live", "Live"] : ["catching-up", "Catching up"]);
    this.announce();
  }

  show(rows) {
    if (rows !== null) this.rows = rows;
    this.staged = null;
    this.changed = null;
  }

  apply({ type, key, value, headers }) {
    const rows = (this.staged ?? this.rows)[type];
    if (rows === undefined) return;
    if (headers.operation === "delete") rows.delete(key);
    else rows.set(key, value);
    if (this.staged === null && this.changed !== null) this.changed.add(`${type}/${key}`);
  }

  // Many frames within one blink are one drawing. A timer, because hidden pages get no animation frames.
  announce() {
    this.drawing ??= setTimeout(() => {
      this.drawing = null;
      if (this.staged !== null) return;
      const changed = this.changed;
      this.changed = new Set();
      if (changed === null || changed.size) this.onRows(this.rows, changed);
    }, 16);
  }

  lost(code) {
    this.staged = null;
    if (REFUSALS[code]) {
      this.tell(["refused", REFUSALS[code]]);
      return;
    }
    const seconds = PATIENCE[Math.min(this.attempts++, PATIENCE.length - 1)] * (0.75 + Math.random() / 2);
    this.tell(["waiting", code === 4429 ? "The server is full; trying again" : "Connection lost; trying again"]);
    this.timer = setTimeout(() => this.connect(), seconds * 1000);
  }

  hurry() {
    if (this.timer) this.connect();
  }
}

// Shows the connection's state in the page's header.
export function showStatus(state, text) {
  const pill = document.getElementById("status");
  if (pill.dataset.state === state && pill.textContent === text) return;
  pill.dataset.state = state;
  pill.textContent = text;
}

// An element with a class, attributes and children; text is never parsed as HTML.
export function make(tag, className, attributes = {}, ...children) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  for (const [name, value] of Object.entries(attributes)) if (value !== undefined && value !== null) element.setAttribute(name, value);
  element.append(...children.filter((child) => child !== null));
  return element;
}

// A colour that belongs to a key, readable on light and dark alike.
export function hue(key) {
  let sum = 7;
  for (const letter of key) sum = (sum * 31 + letter.codePointAt(0)) % 360;
  return sum;
}

const UNITS = [["year", 31536000], ["month", 2592000], ["week", 604800], ["day", 86400], ["hour", 3600], ["minute", 60]];
const relative = new Intl.RelativeTimeFormat("en", { numeric: "auto" });

// A <time> that says how long ago it was, with the exact moment on hover.
export function ago(iso) {
  const date = new Date(iso);
  const seconds = (date - Date.now()) / 1000;
  const unit = UNITS.find(([, size]) => Math.abs(seconds) >= size);
  const text = unit ? relative.format(Math.trunc(seconds / unit[1]), unit[0]) : "just now";
  return make("time", "", { datetime: iso, title: date.toLocaleString() }, text);
}

// What the example's pages share: rows that are drawn when they change, how their stream fares, and
// small things to draw with.

import { follow } from "../durable_state/client.js";

const LOOK = 1000; // milliseconds between two looks at how a stream fares
const STANDINGS = {
  "no-worker": "No worker reads this stream",
  "up-to-date": "Nobody follows this stream",
  paused: "This stream is paused",
  halted: "This stream has halted",
  retrying: "The stream server cannot be reached; trying again",
  missing: "The server has no such stream",
  "needs-reset": "This stream needs a reset",
  rebuilding: "Reading the stream again; these rows stay until it is done",
  lagging: "Behind the stream",
};
const STATES = {
  connecting: ["connecting", "Connecting"],
  "catching-up": ["catching-up", "Catching up"],
  open: ["live", "Live"],
  waiting: ["waiting", "Connection lost; trying again"],
};

/**
 * Follows a stream and draws its rows: `draw(rows, changed)` gets a Map for each type, and what has
 * changed since, as a set of "type/key"; null at
 * first. Many commits within one blink are one drawing.
 */
export function drawRows(stream, types, draw) {
  const followed = follow(stream, { types });
  const rows = Object.fromEntries(types.map((type) => [type, followed.rows(type)]));
  let changed = new Set();
  let timer = null; // hidden pages get no animation frames
  followed.on("change", ({ changes, initial }) => {
    if (initial) changed = null;
    else for (const { type, key } of changes) changed?.add(`${type}/${key}`);
    timer ??= setTimeout(() => {
      timer = null;
      const since = changed;
      changed = new Set();
      document.body.classList.add("ready");
      draw(rows, since);
    }, 16);
  });
  return followed;
}

/**
 * Shows in the page's header whether its rows are live. An open socket says nothing of the worker
 * behind it: "Live" takes both.
 * `onReport` gets what REST says of the stream, each second; null while the server is away.
 */
export function showStanding(stream, followed, onReport) {
  let standing = null;
  const show = () => {
    const { state, text } = followed.status;
    if (state === "open" && standing) showStatus("waiting", standing);
    else showStatus(...(STATES[state] ?? ["refused", text]));
  };
  const look = async () => {
    if (!document.hidden) {
      let report = null;
      try {
        const answer = await fetch(`/state/streams/${encodeURIComponent(stream)}/`, {
          headers: { Accept: "application/json" },
        });
        if (answer.ok) report = await answer.json();
      } catch {
        /* the socket tells that the server is away */
      }
      if (report) standing = STANDINGS[report.status] ?? null;
      show();
      onReport?.(report);
    }
    setTimeout(look, LOOK);
  };
  followed.on("status", show);
  show();
  look();
}

function showStatus(state, text) {
  const pill = document.getElementById("status");
  if (pill.dataset.state === state && pill.textContent === text) return;
  pill.dataset.state = state;
  pill.textContent = text;
}

/** POSTs to this site. Raises an Error whose message is for people. */
export async function post(path, body, options = {}) {
  let response;
  try {
    const token = document.querySelector("[name=csrfmiddlewaretoken]").value;
    response = await fetch(path, {
      method: "POST",
      headers: { "X-CSRFToken": token },
      body,
      ...options,
    });
  } catch {
    throw new Error("The server cannot be reached.");
  }
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) throw new Error(answer.error ?? `The server answered ${response.status}.`);
  return answer;
}

// An element with a class, attributes and children; text is never parsed as HTML.
export function make(tag, className, attributes = {}, ...children) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  for (const [name, value] of Object.entries(attributes))
    if (value !== undefined && value !== null) element.setAttribute(name, value);
  element.append(...children.filter((child) => child !== null));
  return element;
}

/** A circle with the initials of a name, in a colour that belongs to the key. */
export function face(key, name) {
  const words = name
    .trim()
    .split(/\s+/u)
    .filter((word) => /[\p{L}\p{N}]/u.test(word));
  const initials = [words[0], words.length > 1 ? words.at(-1) : undefined]
    .map((word) => word?.match(/[\p{L}\p{N}]/u)[0] ?? "")
    .join("");
  return make(
    "span",
    "face",
    { style: `--hue: ${hue(key)}`, "aria-hidden": "true", title: name || null },
    initials.toUpperCase() || "?",
  );
}

function hue(key) {
  let sum = 7;
  for (const letter of key) sum = (sum * 31 + letter.codePointAt(0)) % 360;
  return sum;
}

const UNITS = [
  ["year", 31536000],
  ["month", 2592000],
  ["week", 604800],
  ["day", 86400],
  ["hour", 3600],
  ["minute", 60],
];
const relative = new Intl.RelativeTimeFormat("en", { numeric: "auto" });

// A <time> that says how long ago it was, with the exact moment on hover.
export function ago(iso) {
  const date = new Date(iso);
  const seconds = (date - Date.now()) / 1000;
  const unit = UNITS.find(([, size]) => Math.abs(seconds) >= size);
  const text = unit ? relative.format(Math.trunc(seconds / unit[1]), unit[0]) : "just now";
  return make("time", "", { datetime: iso, title: date.toLocaleString() }, text);
}

// Sends events, and shows when each of them reached the stream, the tables, this page's socket and
// the screen.

import { subscribe } from "../durable_state/client.js";
import { chartReports } from "./chart.js";
import { make, post, showStanding } from "./site.js";

const SHOWN = 3; // events and frames at once
const COMPARED = 5; // events whose times are shown
const PHASES = ["append", "commit", "push", "draw"];
const STORIES = {
  many: "500 events, but only six trains. A worker keeps the newest event of each train in a batch, so it writes few rows, however many events there are.",
  garbage:
    "Four messages that are not departures. Each becomes a dead letter with its reason, and the stream goes on.",
  reset:
    "The worker reads the stream again from its first message. The rows stay as they are until the new ones are complete, and one transaction swaps them.",
  pause: "No worker reads this stream now. Send some events: they wait in the stream.",
  resume:
    "The worker continues where it stopped: its position was committed together with the rows.",
  kill: "The worker was killed (kill -9), whatever it was doing. Send some events: they wait in the stream until its successor, in some ten seconds, continues from the position that was committed together with the rows.",
};
const [events, frames, ways, trouble, story, pause] = [
  "events",
  "frames",
  "ways",
  "trouble",
  "story",
  "pause",
].map((id) => document.getElementById(id));
const milliseconds = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const travelling = new Map(); // txid -> the moments that are known
const arrivals = new Map(); // txid -> when its frame came, also before the answer to its POST

const now = () => performance.timeOrigin + performance.now();

function push(list, item, kept) {
  list.querySelector(".nothing")?.remove();
  list.prepend(item);
  while (list.children.length > kept) list.lastChild.remove();
}

// A message as it is on the wire; names are paler than values.
function raw(value, note) {
  const text = JSON.stringify(value, null, 1).replace(/\n\s*/g, " ");
  const parts = text.split(/("(?:[^"\\]|\\.)*":)/);
  const painted = parts.map((part, place) => (place % 2 ? make("i", "", {}, part) : part));
  const item = make("li", "fresh", {}, make("pre", "", {}, ...painted));
  if (note) item.prepend(make("span", "note", {}, note));
  return item;
}

const shortened = (text) =>
  text.length > 24 ? `${text.slice(0, 8)}…${text.slice(-8)}` : text;

// ---- what is sent ------------------------------------------------------------------------------

async function act(path, field, value) {
  const body = new FormData();
  body.set(field, value);
  try {
    const answer = await post(path, body);
    trouble.hidden = true;
    story.textContent = STORIES[value] ?? story.dataset.first;
    return answer;
  } catch (error) {
    trouble.textContent = error.message;
    trouble.hidden = false;
    return null;
  }
}

for (const button of document.querySelectorAll("[data-send]")) {
  button.addEventListener("click", async () => {
    const clicked = now();
    const answer = await act("send/", "what", button.dataset.send);
    if (answer === null) return;
    for (const event of answer.events)
      push(events, raw(event, answer.count > 1 ? `one of ${answer.count}` : ""), SHOWN);
    if (button.dataset.send === "one") follow(answer.txid, clicked, answer);
  });
}
for (const button of document.querySelectorAll("[data-do]"))
  button.addEventListener("click", () => act("control/", "do", button.dataset.do));

// ---- its way -----------------------------------------------------------------------------------

function follow(txid, clicked, { appended, events: [event] }) {
  const bar = make("div", "bar", { role: "img" });
  const total = make("output", "", {}, "…");
  push(ways, make("li", "", {}, make("span", "name", {}, event.key), bar, total), COMPARED);
  travelling.set(txid, { clicked, appended, bar, total });
  if (arrivals.has(txid)) arrive(txid);
}

async function arrive(txid) {
  const way = travelling.get(txid);
  way.arrived = arrivals.get(txid);
  const answer = await fetch(`commit/${txid}/`);
  if (answer.ok) way.committed = (await answer.json()).committed;
  show(way);
}

function show(way) {
  const { clicked, appended, committed, arrived, drawn } = way;
  if (!committed || !drawn) return;
  const moments = [clicked, appended, committed, arrived, drawn];
  // A worker may commit an event before its sender has the answer; then the append took no longer.
  for (let place = PHASES.length - 1; place > 0; place--)
    moments[place] = Math.min(moments[place], moments[place + 1]);
  way.phases = PHASES.map((name, place) => [name, moments[place + 1] - moments[place]]);
  const all = [...travelling.values()].filter((each) => each.phases);
  const longest = Math.max(100, ...all.slice(-COMPARED).map((each) => each.drawn - each.clicked));
  for (const each of all) {
    each.bar.replaceChildren(
      ...each.phases.map(([name, lasted]) => {
        const part = make(
          "span",
          name,
          { title: `${name}: ${milliseconds.format(lasted)} ms` },
          (lasted / longest) * each.bar.clientWidth > 30 ? milliseconds.format(lasted) : "",
        );
        part.style.width = `${(100 * lasted) / longest}%`;
        return part;
      }),
    );
    each.bar.setAttribute(
      "aria-label",
      each.phases.map(([name, lasted]) => `${name} ${milliseconds.format(lasted)} ms`).join(", "),
    );
    each.total.textContent = `${milliseconds.format(each.drawn - each.clicked)} ms`;
  }
}

subscribe("station", {
  types: ["departure"],
  onFrame(frame) {
    const { items } = frame;
    if (!items.length) return;
    const rest = items.length - 1;
    const { txids, ...headers } = items[0].headers;
    if (txids)
      headers.txids =
        txids.length > 3 ? [...txids.slice(0, 2), `and ${txids.length - 2} more`] : txids;
    const { upToDate } = frame;
    const offset = shortened(frame.offset);
    push(
      frames,
      raw(
        { items: [{ ...items[0], headers }], offset, upToDate },
        rest ? `and ${rest} more ${rest === 1 ? "item" : "items"}` : "",
      ),
      SHOWN,
    );
    for (const { headers } of items) {
      for (const txid of [headers.txid ?? [], headers.txids ?? []].flat()) {
        if (arrivals.has(txid)) continue; // the frame after a reset names it once more
        arrivals.set(txid, now());
        if (travelling.has(txid)) arrive(txid);
      }
    }
    while (arrivals.size > 2000) arrivals.delete(arrivals.keys().next().value);
  },
});

document.addEventListener("durable-state:updated", ({ target }) => {
  if (target.id !== "board") return;
  for (const way of travelling.values()) {
    if (way.drawn || !way.arrived) continue;
    way.drawn = now();
    show(way);
  }
});

// ---- how the stream fares ----------------------------------------------------------------------

const draw = chartReports();
let status = { state: "connecting", text: "" };
showStanding(
  "station",
  {
    // The board is a live part: how it fares is how this page fares.
    get status() {
      return status;
    },
    on(name, listener) {
      document.getElementById("board").addEventListener("durable-state:state", ({ detail }) => {
        status = detail;
        listener(detail);
      });
      status = {
        state: document.getElementById("board").dataset.liveState ?? "connecting",
        text: "",
      };
    },
  },
  (report) => {
    draw(report);
    if (report === null) return;
    const paused = report.status === "paused";
    pause.dataset.do = paused ? "resume" : "pause";
    pause.textContent = paused ? "Resume" : "Pause";
    const [, pid] = report.holder.split(":");
    document.getElementById("worker").textContent = report.holder
      ? `consumed by process ${pid}`
      : "no worker holds it";
  },
);

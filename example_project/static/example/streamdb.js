// The same rows twice: by this package's client, and by the official StreamDB, unchanged.

import { drawRows, make, post, showStanding } from "./site.js";

const trouble = document.getElementById("trouble");
const milliseconds = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const clicked = new Map(); // txid -> when the button was pressed

function draw(id, departures, changed) {
  const sorted = [...departures].sort(([, a], [, b]) => (a.leavesAt < b.leavesAt ? -1 : 1));
  document.getElementById(id).replaceChildren(
    ...sorted.map(([train, { leavesAt, destination, platform, delay }]) => {
      const late = delay ? make("b", "", {}, ` +${delay}`) : "";
      const row = make(
        "tr",
        changed?.has(train) ? "fresh" : "",
        { "data-key": train },
        make("td", "", {}, leavesAt, late),
        ...[destination, platform, train].map((text) => make("td", "", {}, text)),
      );
      return row;
    }),
  );
}

async function tell(id, txid, arrived) {
  const begun = clicked.get(txid);
  await arrived;
  const took = performance.now() - begun;
  document.getElementById(`${id}-took`).textContent = `${milliseconds.format(took)} ms`;
}

// ---- ours --------------------------------------------------------------------------------------

const ours = drawRows("station", ["departure"], ({ departure }, changed) => {
  const trains = changed && new Set([...changed].map((name) => name.slice("departure/".length)));
  draw("ours", departure, trains);
});
showStanding("station", ours);

// ---- StreamDB ----------------------------------------------------------------------------------

// Any schema library that speaks Standard Schema would do; this one lets everything pass.
const anything = {
  "~standard": { version: 1, vendor: "example", validate: (value) => ({ value }) },
};

async function openStreamDB() {
  const { createStateSchema, createStreamDB } = await import("@durable-streams/state/db");
  const departure = { schema: anything, type: "departure", primaryKey: "train" };
  const url = new URL("/state/streams/station/feed/", location.href).href;
  const db = createStreamDB({
    streamOptions: { url, contentType: "application/json" },
    live: "sse",
    state: createStateSchema({ departure }),
  });
  await db.preload();
  const rows = () => db.collections.departure.toArray.map((row) => [row.train, row]);
  draw("theirs", rows(), null);
  db.collections.departure.subscribeChanges((changes) => {
    draw("theirs", rows(), new Set(changes.map(({ key }) => key)));
  });
  return db;
}

const theirs = document.getElementById("theirs") ? openStreamDB() : Promise.resolve(null);
theirs.catch((error) => {
  document.getElementById("theirs-took").textContent = `not loaded: ${error.message}`;
});

// ---- sending -----------------------------------------------------------------------------------

for (const button of document.querySelectorAll("[data-send]")) {
  button.addEventListener("click", async () => {
    const begun = performance.now();
    const body = new FormData();
    body.set("what", button.dataset.send);
    try {
      const { txid } = await post("../send/", body);
      trouble.hidden = true;
      if (button.dataset.send !== "one") return;
      clicked.set(txid, begun);
      tell("ours", txid, ours.awaitTxId(txid));
      const db = await theirs;
      if (db) tell("theirs", txid, db.utils.awaitTxId(txid, 30_000));
    } catch (error) {
      trouble.textContent = error.message;
      trouble.hidden = false;
    }
  });
}

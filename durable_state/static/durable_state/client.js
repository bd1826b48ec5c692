// Follows streams by websocket: `follow` keeps their rows in Maps, `subscribe` hands over the
// frames as they come.
//
// All subscriptions of a page share one socket, even if this module was loaded twice under two
// addresses. A lost socket is opened again, more and more slowly; each subscription then continues
// after the last frame that it got. The types are in client.d.ts.
//
// One file without imports: storages that name files by their content do not rewrite them.

const PATIENCE = { first: 500, most: 15_000 }; // milliseconds between two attempts to connect
const ANSWER = 4_000; // milliseconds that a socket has to answer a ping
// Milliseconds after which a socket counts as good, so that the next loss starts at the first
// patience again.
const STEADY = 10_000;
// Milliseconds between two looks at the clock: a long gap means that the machine has slept.
const TICK = 5_000;
const LARGEST = 64 * 1024; // characters of a frame that the server takes
const TXIDS = 1_000; // transactions that are remembered for a later `awaitTxId`

/** Close codes after which another attempt would get the same answer. */
export const FINAL_CODES = Object.freeze({
  1008: "The server rejected this subscription as invalid.",
  1009: "This subscription names more types and keys than fit into a frame.",
  4401: "Sign in to follow this stream.",
  4403: "You may not read this stream.",
  4404: "There is no such stream.",
  4429: "Too many subscriptions are open.",
});

const NOTHING =
  "An empty list of types or keys names nothing to follow. Leave it out to follow everything.";
const OVER = ["refused", "closed"]; // states in which nothing more comes

// ---- the socket of the page -------------------------------------------------------------------

/** @type {Map<string, Connection>} */
const connections = (globalThis[Symbol.for("durable-state.connections")] ??= new Map());

/** One websocket with any number of subscriptions. It is open while there is one. */
class Connection {
  constructor(url, protocols) {
    this.url = url;
    this.protocols = protocols;
    this.subscriptions = new Map(); // by id
    this.numbered = 0;
    this.socket = null;
    this.open = false;
    this.attempts = 0;
    this.timer = null; // until the next attempt
    this.asked = null; // until a socket that was sent a ping is given up
    this.begun = 0; // when the socket was made
    this.heard = 0; // when it last brought anything
    this.heartbeat = Infinity; // milliseconds within which it brings something
    this.watching = null; // what ends the watch
  }

  // An id is used once: what still arrives for a closed subscription is nobody's.
  add(subscription) {
    // To the server, an empty list would mean all.
    if (subscription.types?.length === 0 || subscription.keys?.length === 0) {
      subscription.tell("refused", 1008, NOTHING);
      return;
    }
    subscription.id = `${subscription.stream.slice(0, 40)} ${++this.numbered}`;
    subscription.tell("connecting");
    if (this.socket === null && this.timer === null) this.connect();
    this.subscriptions.set(subscription.id, subscription);
    if (this.open) this.ask(subscription);
  }

  remove(subscription) {
    clearTimeout(subscription.timer);
    if (!this.subscriptions.delete(subscription.id)) return;
    if (this.open) this.send({ unsubscribe: subscription.id });
    // A page often follows something else instead, within the same turn.
    setTimeout(() => this.subscriptions.size || this.end(), 0);
  }

  connect() {
    clearTimeout(this.timer);
    this.timer = null;
    for (const each of this.subscriptions.values()) each.tell("connecting");
    const socket = new WebSocket(this.url, this.protocols);
    this.socket = socket;
    this.begun = performance.now();
    socket.onopen = () => {
      this.open = true;
      this.heard = performance.now();
      for (const each of [...this.subscriptions.values()]) this.ask(each);
    };
    socket.onmessage = ({ data }) => {
      this.heard = performance.now();
      clearTimeout(this.asked);
      this.asked = null;
      if (this.heard - this.begun > STEADY) this.attempts = 0;
      this.take(JSON.parse(data));
    };
    socket.onclose = ({ code, reason }) => this.lost(code, reason);
    this.watching ??= this.watch();
  }

  // Looks after the socket, until the function that it returns is called.
  watch() {
    const ending = new AbortController();
    const on = (target, event, react) =>
      target?.addEventListener?.(event, react, { signal: ending.signal });
    // A socket that lost its network says nothing, and may still be right: to this very machine.
    for (const event of ["online", "offline"]) on(window, event, () => this.wake());
    on(window, "pageshow", ({ persisted }) => persisted && this.wake());
    // Browsers keep no page with an open socket for the way back.
    on(window, "pagehide", () => this.socket && this.drop(1001, "The page was left."));
    on(document, "visibilitychange", () => document.hidden || this.wake());
    on(navigator.connection, "change", () => this.wake());

    let ticked = Date.now(); // performance.now() stands still while some machines sleep
    const ticking = setInterval(() => {
      const [slept, now] = [Date.now() - ticked > 3 * TICK, performance.now()];
      ticked = Date.now();
      if (slept) this.wake();
      else if (this.open && now - this.heard > 1.5 * this.heartbeat) this.probe();
      else if (this.socket && !this.open && now - this.begun > 4 * TICK) this.drop();
    }, TICK);
    return () => {
      clearInterval(ticking);
      ending.abort();
    };
  }

  take(frame) {
    if (frame.heartbeat) this.heartbeat = frame.heartbeat * 1000;
    else if (frame.error) console.warn(`durable_state: ${frame.error}`);
    const subscription = this.subscriptions.get(frame.id);
    if (subscription === undefined) return;
    if (frame.items) subscription.take(frame);
    else if (frame.closed) this.dismissed(subscription, frame.closed, frame.reason);
    else if (frame.error) this.dismissed(subscription, 1008, frame.error);
  }

  ask(subscription) {
    clearTimeout(subscription.timer);
    const { id, stream, types, keys, offset } = subscription;
    const frame = { subscribe: stream, id, types, keys, offset };
    // The server would close the socket, and with it all other subscriptions.
    if (JSON.stringify(frame).length > LARGEST) this.dismissed(subscription, 1009);
    else this.send(frame);
  }

  send(frame) {
    this.socket.send(JSON.stringify(frame));
  }

  // The server has ended one subscription; the socket stays.
  dismissed(subscription, code, reason) {
    if (code in FINAL_CODES) {
      this.subscriptions.delete(subscription.id);
      subscription.tell("refused", code, reason);
      if (!this.subscriptions.size) this.end();
      return;
    }
    subscription.tell("waiting", code, reason);
    subscription.timer = setTimeout(
      () => this.open && this.ask(subscription),
      delay(subscription.attempts++),
    );
  }

  lost(code, reason) {
    this.forget();
    const all = [...this.subscriptions.values()];
    const final = code in FINAL_CODES;
    if (!this.heard && this.attempts === 1 && navigator.onLine) console.warn(unanswered(this.url));
    if (final) {
      this.subscriptions.clear();
      this.end();
    } else if (all.length) this.timer = setTimeout(() => this.connect(), delay(this.attempts++));
    for (const each of all) {
      clearTimeout(each.timer);
      each.tell(final ? "refused" : "waiting", code, reason);
    }
  }

  // After sleep, or in another network, a socket may look open for minutes although it is dead.
  wake() {
    if (this.timer !== null) this.connect();
    else if (this.open) this.probe();
  }

  probe() {
    if (this.asked !== null) return;
    this.send({ ping: 1 });
    this.asked = setTimeout(() => this.drop(), ANSWER);
  }

  drop(code = 1006, reason = "The server does not answer.") {
    const socket = this.socket;
    this.lost(code, reason);
    socket.close();
  }

  end() {
    clearTimeout(this.timer);
    this.timer = null;
    this.watching?.();
    this.watching = null;
    const socket = this.socket;
    this.forget();
    socket?.close(1000);
  }

  forget() {
    clearTimeout(this.asked);
    this.asked = null;
    this.open = false;
    if (this.socket) this.socket.onopen = this.socket.onmessage = this.socket.onclose = null;
    this.socket = null;
  }
}

// In the upper half of the time, at random, so that a thousand pages do not return at the same
// moment.
const delay = (attempts) =>
  Math.min(PATIENCE.most, PATIENCE.first * 2 ** Math.min(attempts, 10)) * (0.5 + Math.random() / 2);

// What a newcomer needs whose server has no websockets: browsers say no more than that one failed.
const unanswered = (url) =>
  `durable_state: nothing answers websockets at ${url}, so this page is not live. With runserver, ` +
  'put "daphne" first in INSTALLED_APPS and set ASGI_APPLICATION; with another server, serve ' +
  "asgi.py and route websocket_urlpatterns.";

// Calls back. An error is reported like any other of the page's scripts, and ends nothing here.
function call(callback, argument) {
  try {
    callback?.(argument);
  } catch (error) {
    reportError(error);
  }
}

function address(url) {
  const named =
    url ??
    document.querySelector("meta[name=durable-state-socket]")?.content ??
    document.querySelector("script[data-socket]")?.dataset.socket ??
    "/ws/state/";
  const absolute = new URL(named, location.href);
  absolute.protocol = absolute.protocol.replace("http", "ws");
  return absolute.href;
}

// ---- frames -----------------------------------------------------------------------------------

/**
 * Follows a stream; `onFrame` gets its frames, `onStatus` whether they come. Documented in
 * client.d.ts.
 */
export function subscribe(stream, options = {}) {
  const { types, keys, offset, url, protocols, signal, onFrame, onStatus } = options;
  const where = address(url);
  const name = JSON.stringify([where, protocols ?? null]);
  if (!connections.has(name)) connections.set(name, new Connection(where, protocols));
  const connection = connections.get(name);
  const subscription = {
    id: "",
    stream,
    types: types ? [...types] : undefined,
    keys: keys ? [...keys] : undefined,
    offset: offset || undefined,
    attempts: 0,
    timer: null,
    status: { state: "connecting", code: 0, text: "" },
    tell(state, code = 0, text = "") {
      text ||= FINAL_CODES[code] ?? "";
      if (this.status.state === state && this.status.code === code && this.status.text === text)
        return;
      this.status = { state, code, text };
      call(onStatus, this.status);
    },
    take(frame) {
      if (frame.upToDate) this.attempts = 0;
      call(onFrame, frame);
      // Within a snapshot there is nothing to continue from yet.
      if (frame.offset && frame.offset !== "-1") this.offset = frame.offset;
      this.tell(frame.upToDate ? "open" : "catching-up");
    },
  };
  const close = () => {
    connection.remove(subscription);
    subscription.tell("closed");
  };
  if (signal?.aborted) subscription.tell("closed");
  else connection.add(subscription);
  signal?.addEventListener("abort", close);
  return {
    get status() {
      return subscription.status;
    },
    get offset() {
      return subscription.offset;
    },
    close,
    retry: () => OVER.includes(subscription.status.state) && connection.add(subscription),
  };
}

// ---- rows -------------------------------------------------------------------------------------

/** The rows of one stream, equal to what the server's tables show this user. Made by `follow`. */
export class FollowedStream extends EventTarget {
  #rows = new Map(); // type -> key -> value
  #staged = null; // a snapshot that is arriving; the former rows stay until it is complete
  #txids = new Set();
  #subscription;

  constructor(stream, options = {}) {
    super();
    this.stream = stream;
    this.complete = false;
    this.#subscription = subscribe(stream, {
      ...options,
      offset: undefined,
      onFrame: (frame) => this.#read(frame),
      onStatus: (status) => {
        // The rest of the snapshot will not come.
        if (!["open", "catching-up"].includes(status.state)) this.#staged = null;
        this.#emit("status", status);
      },
    });
  }

  /** The rows of a type by key: the same Map each time, kept current. */
  rows(type) {
    if (!this.#rows.has(type)) this.#rows.set(type, new Map());
    return this.#rows.get(type);
  }

  get types() {
    return [...this.#rows.keys()];
  }
  get status() {
    return this.#subscription.status;
  }
  get offset() {
    return this.#subscription.offset;
  }
  /** Resolves once the first rows are complete. */
  get ready() {
    return this.#until(() => this.complete);
  }

  on(name, listener, options) {
    this.addEventListener(name, (event) => listener(event.detail, this), options);
    return this;
  }

  close() {
    this.#subscription.close();
  }
  retry() {
    this.#subscription.retry();
  }

  /** Resolves once a transaction has arrived, whatever became of its changes. */
  async awaitTxId(txid, milliseconds = 30_000) {
    const late = `The transaction ${txid} did not arrive within ${milliseconds} ms.`;
    await this.#until(() => this.#txids.has(txid), milliseconds, late);
  }

  // Rejects after that time, and where nothing more will come.
  #until(isDone, milliseconds, late) {
    return new Promise((resolve, reject) => {
      const listening = new AbortController();
      const end = (settle, value) => {
        listening.abort();
        clearTimeout(timer);
        settle(value);
      };
      const timer = late && setTimeout(() => end(reject, new Error(late)), milliseconds);
      const look = () => {
        const { state, text } = this.status;
        if (isDone()) end(resolve, this);
        else if (OVER.includes(state))
          end(reject, new Error(`The stream ${this.stream} is ${state}. ${text}`.trim()));
      };
      for (const name of ["change", "txids", "status"])
        this.addEventListener(name, look, { signal: listening.signal });
      look();
    });
  }

  #emit(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }

  #read({ items }) {
    const first = !this.complete;
    const changes = [];
    const txids = [];
    for (const { type, key, value, headers } of items) {
      if (headers.txid !== undefined) txids.push(headers.txid);
      if (headers.txids) txids.push(...headers.txids);
      if (headers.control === "snapshot-start") this.#staged = new Map();
      else if (headers.control === "snapshot-end") this.#switch(changes);
      else if (!headers.operation) continue;
      else if (this.#staged) put(this.#staged, type, key, value);
      else this.#apply(type, key, headers.operation === "delete" ? undefined : value, changes);
    }
    if (changes.length || (first && this.complete))
      this.#emit("change", { changes, initial: first, txids });
    if (txids.length) this.#remember(txids);
  }

  // A new snapshot is told as its differences, so that a page that was away shows what happened
  // meanwhile and nothing else.
  #switch(changes) {
    const staged = this.#staged ?? new Map();
    this.#staged = null;
    this.complete = true;
    for (const [type, rows] of this.#rows) {
      for (const key of [...rows.keys()])
        if (!staged.get(type)?.has(key)) this.#apply(type, key, undefined, changes);
    }
    for (const [type, rows] of staged)
      for (const [key, value] of rows) this.#apply(type, key, value, changes);
  }

  #apply(type, key, value, changes) {
    const rows = this.rows(type);
    const previous = rows.get(key);
    if (value === undefined) {
      if (rows.delete(key)) changes.push({ type, key, operation: "delete", value, previous });
    } else if (!rows.has(key) || JSON.stringify(previous) !== JSON.stringify(value)) {
      changes.push({ type, key, operation: rows.has(key) ? "update" : "insert", value, previous });
      rows.set(key, value);
    }
  }

  #remember(txids) {
    for (const txid of txids) this.#txids.add(txid);
    for (const old of this.#txids) {
      if (this.#txids.size <= TXIDS) break;
      this.#txids.delete(old);
    }
    this.#emit("txids", txids);
  }
}

function put(staged, type, key, value) {
  if (!staged.has(type)) staged.set(type, new Map());
  staged.get(type).set(key, value);
}

/** Follows a stream and keeps its rows. Documented in client.d.ts. */
export function follow(stream, options) {
  return new FollowedStream(stream, options);
}

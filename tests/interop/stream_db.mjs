// The official clients, unchanged: StreamDB, MaterializedState over stream(), or both streams of a comparison.
// In: one JSON command a line. Out: one JSON answer a line.
//   {"open": name, "kind": "db" | "materialized", "url", "headers", "params", "live"}
//   {"await": name, "txids": [...], "ms"}  -> those that did not come
//   {"dump": name}                         -> [[type, key, value], ...]
//   {"close": name}
import { createInterface } from "node:readline"
import { DurableStream, stream } from "@durable-streams/client"
import { MaterializedState, isChangeEvent } from "@durable-streams/state"
import { createStateSchema, createStreamDB } from "@durable-streams/state/db"

const TYPES = ["message", "profile", "score", "author", "setting"]
const anything = { "~standard": { version: 1, vendor: "tests", validate: (value) => ({ value }) } }
const schema = createStateSchema(
  Object.fromEntries(TYPES.map((type) => [type, { schema: anything, type, primaryKey: "entityKey" }])),
)

// Without what StreamDB and TanStack DB add.
const plain = (row) => Object.fromEntries(Object.entries(row).filter(([name]) => !/^(\$|_seq$)/.test(name)))

async function openDatabase({ url, headers, params, live }) {
  const stream = new DurableStream({ url, headers, params, contentType: "application/json" })
  const db = createStreamDB({ stream, state: schema, live })
  await db.preload()
  return {
    wait: (txid, ms) => db.utils.awaitTxId(txid, ms),
    dump: () =>
      TYPES.flatMap((type) =>
        db.collections[type].toArray.map(({ entityKey, ...row }) => [type, entityKey, plain(row)]),
      ),
    close: () => db.close(),
  }
}

async function openMaterialized({ url, headers, params, live }) {
  const abort = new AbortController()
  const state = new MaterializedState()
  const seen = new Set()
  const waiting = new Map()
  const response = await stream({ url, headers, params, live, json: true, signal: abort.signal })
  response.closed.catch(() => {})
  await new Promise((ready) => {
    response.subscribeJson(async (batch) => {
      for (const item of batch.items) {
        if (!isChangeEvent(item)) throw new Error("a control")
        state.apply(item)
        seen.add(item.headers.txid)
        waiting.get(item.headers.txid)?.()
      }
      if (batch.upToDate) ready()
    })
  })
  return {
    wait: (txid, ms) =>
      seen.has(txid)
        ? Promise.resolve()
        : new Promise((resolve, reject) => {
            waiting.set(txid, resolve)
            setTimeout(() => reject(new Error(txid)), ms).unref()
          }),
    dump: () => state.types.flatMap((type) => [...state.getType(type)].map(([key, value]) => [type, key, value])),
    close: () => abort.abort(),
  }
}

const open = new Map()

async function obey(command) {
  if (command.open) {
    open.set(command.open, await (command.kind === "db" ? openDatabase : openMaterialized)(command))
    return true
  }
  if (command.await) {
    const reader = open.get(command.await)
    const ended = await Promise.allSettled(command.txids.map((txid) => reader.wait(txid, command.ms)))
    return command.txids.filter((_, place) => ended[place].status === "rejected")
  }
  if (command.dump) return open.get(command.dump).dump()
  open.get(command.close).close()
  return true
}

for await (const line of createInterface({ input: process.stdin })) {
  let answer
  try {
    answer = { answer: await obey(JSON.parse(line)) }
  } catch (error) {
    answer = { error: String(error.stack ?? error) }
  }
  process.stdout.write(JSON.stringify(answer) + "\n")
}
process.exit(0)

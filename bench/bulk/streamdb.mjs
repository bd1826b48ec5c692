// The reference client's StreamDB, once, in this process: reads the stream at the given URL until
// it is up to date. Run in a folder whose node_modules has the packages. Prints one JSON object
// (seconds, megabytes), then each row as [type, key, value].
import { createRequire } from "node:module"
import { readFileSync } from "node:fs"

const require = createRequire(`${process.cwd()}/`)
const { createStateSchema, createStreamDB } = require("@durable-streams/state/db")

// A Standard Schema that takes every value: what StreamDB applies from a stream is not validated.
const schema = { "~standard": { version: 1, vendor: "bench", validate: (value) => ({ value }) } }
const types = ["message", "profile", "setting"]
const collections = types.map((type) => [type, { schema, type, primaryKey: "key" }])
const state = createStateSchema(Object.fromEntries(collections))

// Without the key that StreamDB put into the value, its order, and what TanStack DB adds to a row.
function ownValue(row) {
  const own = ([name]) => name !== "key" && name !== "_seq" && !name.startsWith("$")
  return Object.fromEntries(Object.entries(row).filter(own))
}

function peakMegabytes() {
  try {
    return Number(/VmHWM:\s*(\d+)/.exec(readFileSync("/proc/self/status", "utf8"))[1]) / 1024
  } catch {
    return process.resourceUsage().maxRSS / 1024
  }
}

const began = performance.now()
const before = process.cpuUsage()
const streamOptions = { url: process.argv[2], contentType: "application/json", warnOnHttp: false }
const db = createStreamDB({ streamOptions, state })
await db.preload()
const wall = (performance.now() - began) / 1000
const { user, system } = process.cpuUsage(before)
const measured = { wall, cpu: (user + system) / 1e6, peak_mb: peakMegabytes() }

const lines = [JSON.stringify(measured)]
for (const type of types) {
  for (const [key, row] of db.collections[type].entries()) {
    lines.push(JSON.stringify([type, key, ownValue(row)]))
  }
}
db.close()
process.stdout.write(lines.join("\n") + "\n", () => process.exit(0))

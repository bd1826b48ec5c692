// The reference client on the stream itself: prints each entity's key, and when its callback got
// it, in nanoseconds of the monotonic clock, which all processes share. Run in a folder whose
// node_modules has the package, with the stream's URL.
import { createRequire } from "node:module"

const require = createRequire(`${process.cwd()}/`)
const { stream } = require("@durable-streams/client")

const url = process.argv[2]
const response = await stream({ url, offset: "-1", live: "sse", json: true, warnOnHttp: false })
response.subscribeJson(({ items }) => {
  const now = process.hrtime.bigint()
  for (const item of items) process.stdout.write(`${item.key} ${now}\n`)
})

process.stdin.on("end", () => process.exit(0)).resume()

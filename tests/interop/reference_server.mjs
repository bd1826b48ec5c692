// Runs the reference server until it is terminated, or until whoever started it is gone. The first line printed is its URL.
//
// PORT (default: any free one), LONG_POLL_TIMEOUT_MS (default 30000), DATA_DIR (default: in memory).
import { DurableStreamTestServer } from "@durable-streams/server"

const { PORT, LONG_POLL_TIMEOUT_MS, DATA_DIR } = process.env
const server = new DurableStreamTestServer({
  port: Number(PORT ?? 0),
  webhooks: true,
  longPollTimeout: Number(LONG_POLL_TIMEOUT_MS ?? 30_000),
  ...(DATA_DIR ? { dataDir: DATA_DIR } : {}),
})
console.log(await server.start())

const leave = () => process.exit(0)
process.on("SIGTERM", leave)
process.on("SIGINT", leave)
process.stdin.on("end", leave).resume()

// A stream that is deleted under an open event stream makes the server throw after its headers were sent; readers just lose the connection.
process.on("unhandledRejection", (error) => console.error(error))

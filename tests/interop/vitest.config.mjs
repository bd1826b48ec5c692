// Runs the public conformance suite, which is installed beside this file.
import { defineConfig } from "vitest/config"

export default defineConfig({
  test: {
    include: ["node_modules/@durable-streams/server-conformance-tests/dist/test-runner.js"],
    exclude: [],
    reporters: ["json"],
    maxConcurrency: 8,
    testTimeout: 15000,
  },
})

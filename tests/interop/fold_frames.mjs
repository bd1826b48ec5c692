// Folds websocket frames with the reference client's MaterializedState.
// In: a JSON array of frames on standard input. Out: a JSON array of [type, key, value], in no order.
import { MaterializedState, isChangeEvent, isControlEvent } from "@durable-streams/state"

const chunks = []
for await (const chunk of process.stdin) chunks.push(chunk)

const state = new MaterializedState()
for (const frame of JSON.parse(Buffer.concat(chunks).toString())) {
  for (const item of frame.items) {
    if (isControlEvent(item) && item.headers.control === "snapshot-start") state.clear()
    if (isChangeEvent(item)) state.apply(item)
  }
}

const entities = state.types.flatMap((type) => [...state.getType(type)].map(([key, value]) => [type, key, value]))
process.stdout.write(JSON.stringify(entities))

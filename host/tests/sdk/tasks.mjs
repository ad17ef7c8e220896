// The official TypeScript client 1.x and tasks of a modern server behind Lockgate: calls that the server
// makes tasks of, and tasks that the client asks for.
//
//   node tasks.mjs --at URL
//
// The server is the one in tests/conformance/fixture. Prints what was seen as one line of JSON.

import { parseArgs } from "node:util";
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import { CallToolResultSchema, ElicitRequestSchema } from "@modelcontextprotocol/sdk/types.js";

const { values: flags } = parseArgs({ options: { at: { type: "string" } } });
const asked = [];
const contents = {
  "Delete a?": { confirm: true },
  "First?": { value: "1" },
  "Second?": { value: "2" },
  "What is your name?": { name: "Ada" },
};
const client = new Client({ name: "tasks", version: "1.0.0" }, { capabilities: { elicitation: { form: {} } } });
client.setRequestHandler(ElicitRequestSchema, async ({ params }) => {
  asked.push(params.message);
  return { action: "accept", content: contents[params.message] };
});
await client.connect(new StreamableHTTPClientTransport(new URL(flags.at)));
const seen = { offered: client.getServerCapabilities().tasks };
const { tools } = await client.listTools();
seen.support = [...new Set(tools.map((tool) => tool.execution?.taskSupport))];

// Calls, and nothing else.
const call = async (name, args = {}) => {
  try {
    const result = await client.callTool({ name, arguments: args });
    return `${result.isError ? "failed: " : ""}${result.content[0].text}`;
  } catch (error) {
    return `error ${error.code}`;
  }
};
seen.plain = [
  await call("confirm_delete", { filename: "a" }),
  await call("multi_input"),
  await call("test_tool_with_task"),
  await call("failing_job"),
  await call("protocol_error_job"),
];
seen.asked = asked.splice(0).sort();

// Tasks that this client asks for.
const task = async (name, args = {}) => {
  const stream = client.experimental.tasks.callToolStream({ name, arguments: args }, CallToolResultSchema, {
    task: { ttl: 60_000 },
  });
  const types = new Set();
  for await (const message of stream) {
    types.add(message.type);
    if (message.type === "result") return { types: [...types], text: message.result.content[0].text };
    if (message.type === "error") return { types: [...types], error: String(message.error) };
  }
};
seen.task = await task("confirm_delete", { filename: "a" });
seen.greeting = await task("greet", { name: "Ada" });
seen.askedInTask = asked.splice(0);

const stream = client.experimental.tasks.callToolStream(
  { name: "slow_compute", arguments: { seconds: 60 } },
  CallToolResultSchema,
  { task: { ttl: 60_000 } },
);
const { value: created } = await stream.next();
seen.cancelled = (await client.experimental.tasks.cancelTask(created.task.taskId)).status;
seen.after = (await client.experimental.tasks.getTask(created.task.taskId)).status;
await client.close();
console.log(JSON.stringify(seen));
process.exit(0);

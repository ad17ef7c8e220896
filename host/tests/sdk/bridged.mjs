// Drives a server of the modern era through Lockgate with the official TypeScript client 1.x, which knows
// the legacy era only. The server is the one in tests/conformance/fixture.
//
//   node bridged.mjs URL
//
// A URL whose path ends in /sse is spoken to over HTTP+SSE, every other one over Streamable HTTP.

import assert from "node:assert/strict";
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { SSEClientTransport } from "@modelcontextprotocol/sdk/client/sse.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import * as schemas from "@modelcontextprotocol/sdk/types.js";

const url = new URL(process.argv[2]);
const capabilities = { sampling: {}, elicitation: {}, roots: { listChanged: true } };
const client = new Client({ name: "bridged", version: "1.0.0" }, { capabilities });

/** Resolves with the params of the next notification of that kind. */
const next = (schema) =>
  new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error("a notification did not come within 20 s")), 20_000);
    client.setNotificationHandler(schema, ({ params }) => (clearTimeout(timer), resolve(params)));
  });
client.setRequestHandler(schemas.ElicitRequestSchema, () => ({
  action: "accept",
  content: { name: "Ada", color: "green", ok: true, context: "tests", value: "v" },
}));
client.setRequestHandler(schemas.CreateMessageRequestSchema, () => ({
  role: "assistant",
  model: "bridged",
  content: { type: "text", text: "sampled" },
}));
client.setRequestHandler(schemas.ListRootsRequestSchema, () => ({ roots: [{ uri: "file:///r", name: "r" }] }));

const transport = url.pathname.endsWith("/sse") ? new SSEClientTransport(url) : new StreamableHTTPClientTransport(url);
await client.connect(transport);
const call = (name, args = {}, options) => client.callTool({ name, arguments: args }, undefined, options);
const said = async (...args) => (await call(...args)).content[0].text;

assert.equal(client.getServerVersion().name, "lockgate-conformance-fixture");
await client.ping();
assert.ok((await client.listTools()).tools.length > 30);
assert.equal((await client.listPrompts()).prompts.length, 5);
assert.equal((await client.listResources()).resources.length, 3);
assert.equal(await said("test_header_param", { region: " Z\u00fcrich" }), "region:  Z\u00fcrich");

const told = [];
await call("test_tool_with_progress", {}, { onprogress: (progress) => told.push(progress) });
assert.ok(told.length >= 2, `${told.length} progress notifications`);

const logged = next(schemas.LoggingMessageNotificationSchema);
await client.setLoggingLevel("info");
await call("test_tool_with_logging");
assert.equal((await logged).level, "info");

const ask = (about) => said(`test_input_required_result_${about}`);
assert.equal(await ask("elicitation"), "Hello, Ada!");
assert.equal(await ask("sampling"), "sampled");
assert.ok((await ask("list_roots")).includes("file:///r"));
assert.ok((await ask("request_state")).startsWith("state-ok"));
assert.equal(await ask("multi_round"), "Ada likes green");
await ask("multiple_inputs");
const { messages } = await client.getPrompt({ name: "test_input_required_result_prompt" });
assert.equal(messages[0].content.text, "Context: tests");

const uri = "test://watched-resource";
const [changed, updated] = [
  next(schemas.ToolListChangedNotificationSchema),
  next(schemas.ResourceUpdatedNotificationSchema),
];
await client.subscribeResource({ uri });
await call("test_trigger_resource_update", { uri });
assert.equal((await updated).uri, uri);
await client.unsubscribeResource({ uri });
await call("test_trigger_tool_change");
await changed;
await assert.rejects(client.readResource({ uri: "test://nothing" }), { code: -32002 });

await client.close();
console.log("all of it works");

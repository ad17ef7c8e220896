// One official client and a server of the other era behind Lockgate: it lists, calls, and is asked.
//
//   node eras.mjs --client old|1|2 --at stdio|URL [--command PROGRAM --arg A …]
//
// Client 1 is the TypeScript SDK 1.x (legacy only; a URL whose path ends in /sse is spoken to over
// HTTP+SSE), `old` one of its releases that knows no later revision than 2025-06-18, 2 is 2.x and insists
// on 2026-07-28. The server is the one in tests/conformance/fixture.
// Prints what was seen as one line of JSON.

import { parseArgs } from "node:util";

const { values: flags } = parseArgs({
  options: {
    client: { type: "string" },
    at: { type: "string" },
    command: { type: "string", default: process.execPath },
    arg: { type: "string", multiple: true, default: [] },
  },
});
const child = { command: flags.command, args: flags.arg, stderr: "ignore" };
const asked = [];
const answers = {
  elicitation: (params) => (asked.push(params.message), { action: "accept", content: { name: "Ada" } }),
  sampling: (params) => {
    asked.push(params.messages[0].content.text);
    return { role: "assistant", model: "suite", content: { type: "text", text: "sampled" } };
  },
  roots: () => (asked.push("roots"), { roots: [{ uri: "file:///suite", name: "suite" }] }),
};
const capabilities = { elicitation: { form: {} }, sampling: {}, roots: {} };

async function first(sdk) {
  const { Client } = await import(`${sdk}/client/index.js`);
  const types = await import(`${sdk}/types.js`);
  const client = new Client({ name: "eras", version: "1.0.0" }, { capabilities });
  client.setRequestHandler(types.ElicitRequestSchema, async ({ params }) => answers.elicitation(params));
  client.setRequestHandler(types.CreateMessageRequestSchema, async ({ params }) => answers.sampling(params));
  client.setRequestHandler(types.ListRootsRequestSchema, async () => answers.roots());
  if (flags.at === "stdio") {
    const { StdioClientTransport } = await import(`${sdk}/client/stdio.js`);
    await client.connect(new StdioClientTransport(child));
  } else if (flags.at.endsWith("/sse")) {
    const { SSEClientTransport } = await import(`${sdk}/client/sse.js`);
    await client.connect(new SSEClientTransport(new URL(flags.at)));
  } else {
    const { StreamableHTTPClientTransport } = await import(`${sdk}/client/streamableHttp.js`);
    await client.connect(new StreamableHTTPClientTransport(new URL(flags.at)));
  }
  return { client, era: "legacy", call: (name, args) => client.callTool({ name, arguments: args }) };
}

async function second() {
  const { Client, StreamableHTTPClientTransport } = await import("@modelcontextprotocol/client");
  const { StdioClientTransport } = await import("@modelcontextprotocol/client/stdio");
  const options = { capabilities, versionNegotiation: { mode: { pin: "2026-07-28" } } };
  const client = new Client({ name: "eras", version: "2.0.0" }, options);
  client.setRequestHandler("elicitation/create", async ({ params }) => answers.elicitation(params));
  client.setRequestHandler("sampling/createMessage", async ({ params }) => answers.sampling(params));
  client.setRequestHandler("roots/list", async () => answers.roots());
  const transport =
    flags.at === "stdio" ? new StdioClientTransport(child) : new StreamableHTTPClientTransport(new URL(flags.at));
  await client.connect(transport);
  return { client, era: client.getProtocolEra(), call: (name, args) => client.callTool({ name, arguments: args }) };
}

const sdks = { old: "sdk-of-2025-06-18", 1: "@modelcontextprotocol/sdk" };
const { client, era, call } = await (flags.client === "2" ? second() : first(sdks[flags.client]));
const said = async (name, args = {}) => (await call(name, args)).content[0].text;
const seen = { era };
seen.tools = (await client.listTools()).tools.length;
seen.prompts = (await client.listPrompts()).prompts.length;
seen.resources = (await client.listResources()).resources.length;
seen.plain = await said("test_simple_text");
seen.elicitation = await said("test_input_required_result_elicitation");
seen.sampling = await said("test_input_required_result_sampling");
seen.roots = await said("test_input_required_result_list_roots");
seen.rounds = await said("test_input_required_result_multi_round");
seen.asked = asked;
await client.close();
console.log(JSON.stringify(seen));
process.exit(0);

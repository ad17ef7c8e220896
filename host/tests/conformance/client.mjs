// What the conformance suite's client mode runs in place of a client: Lockgate in front of the suite's
// server, driven by an official client of the scenario's era.
//
//   MCP_CONFORMANCE_SCENARIO=… node client.mjs LOCKGATE URL

import { spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { Client, StreamableHTTPClientTransport } from "@modelcontextprotocol/client";
import { Client as OldClient } from "@modelcontextprotocol/sdk/client/index.js";
import { StreamableHTTPClientTransport as OldTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import { ElicitRequestSchema } from "@modelcontextprotocol/sdk/types.js";

const MODERN = "2026-07-28";
const IDENTITY = { name: "lockgate-conformance", version: "1.0.0" };
const [lockgate, server] = process.argv.slice(2);
const { MCP_CONFORMANCE_SCENARIO: scenario, MCP_CONFORMANCE_PROTOCOL_VERSION: version } = process.env;
const { toolCalls = [] } = JSON.parse(process.env.MCP_CONFORMANCE_CONTEXT ?? "{}");

/** Lockgate in front of the suite's server; resolves with the URL that it serves it at. */
async function start(folder) {
  mkdirSync(join(folder, "plugins"));
  const config = join(folder, "lockgate.json");
  writeFileSync(config, JSON.stringify({ servers: { mock: { url: server } }, plugins: { dir: "plugins" } }));
  const args = ["serve", "--config", config, "--listen", "127.0.0.1:0"];
  const gate = spawn(lockgate, args, { stdio: ["ignore", "ignore", "pipe"], env: { ...process.env, NO_COLOR: "1" } });
  let address;
  await new Promise((resolve, reject) => {
    gate.once("exit", () => reject(new Error("Lockgate ended before it was ready")));
    createInterface({ input: gate.stderr }).on("line", (line) => {
      console.error(line);
      address ??= / on (http:\/\/[^/ ]+)/.exec(line)?.[1];
      if (line.trim() === "ready") resolve();
    });
  });
  return { url: new URL(`${address}/mock/mcp`), stop: () => gate.kill() };
}

/** A client of the era before; `accepts` says that it agrees to every question. */
async function legacy(url, accepts) {
  const capabilities = accepts ? { elicitation: { form: { applyDefaults: true } } } : {};
  const client = new OldClient(IDENTITY, { capabilities });
  if (accepts) client.setRequestHandler(ElicitRequestSchema, async () => ({ action: "accept", content: {} }));
  await client.connect(new OldTransport(url));
  return client;
}

/** A client of the current era that answers every question; `meanwhile` runs before it answers the first. */
async function modern(url, meanwhile) {
  const capabilities = { elicitation: { form: {} }, sampling: {}, roots: {} };
  const client = new Client(IDENTITY, { capabilities, versionNegotiation: { mode: { pin: MODERN } } });
  client.setRequestHandler("elicitation/create", async () => {
    const first = meanwhile;
    meanwhile = undefined;
    await first?.(client);
    return { action: "accept", content: { confirmed: true } };
  });
  client.setRequestHandler("sampling/createMessage", async () => ({
    role: "assistant",
    model: "none",
    content: { type: "text", text: "sampled" },
  }));
  client.setRequestHandler("roots/list", async () => ({ roots: [] }));
  await client.connect(new StreamableHTTPClientTransport(url));
  return client;
}

/** One request without a client, which would leave out what Lockgate should have left out. */
async function bare(url, method, name, params) {
  const meta = {
    "io.modelcontextprotocol/protocolVersion": MODERN,
    "io.modelcontextprotocol/clientInfo": IDENTITY,
    "io.modelcontextprotocol/clientCapabilities": {},
  };
  const headers = {
    "content-type": "application/json",
    accept: "application/json, text/event-stream",
    "mcp-protocol-version": MODERN,
    "mcp-method": method,
    ...name,
  };
  const body = JSON.stringify({ jsonrpc: "2.0", id: 1, method, params: { ...params, _meta: meta } });
  return (await fetch(url, { method: "POST", headers, body })).json();
}

const scenarios = {
  async initialize(url) {
    const client = await legacy(url);
    await client.listTools();
    await client.close();
  },
  async tools_call(url) {
    const client = version === MODERN ? await modern(url) : await legacy(url);
    await client.listTools();
    await client.callTool({ name: "add_numbers", arguments: { a: 5, b: 3 } });
    await client.close();
  },
  async "elicitation-sep1034-client-defaults"(url) {
    const client = await legacy(url, true);
    await client.listTools();
    await client.callTool({ name: "test_client_elicitation_defaults", arguments: {} });
    await client.close();
  },
  async "sse-retry"(url) {
    const client = await legacy(url);
    await client.listTools();
    const result = await client.callTool({ name: "test_reconnection", arguments: {} });
    if (!result.content[0].text.includes("successfully")) throw new Error(`answered ${JSON.stringify(result)}`);
    await client.close();
  },
  async "request-metadata"(url) {
    const client = await modern(url);
    await client.listTools();
    await client.close();
  },
  async "sep-2322-client-request-state"(url) {
    const unrelated = (client) => client.callTool({ name: "test_mrtr_unrelated", arguments: {} });
    const client = await modern(url, unrelated);
    await client.listTools();
    for (const name of ["test_mrtr_echo_state", "test_mrtr_no_state", "test_mrtr_no_result_type"])
      await client.callTool({ name, arguments: {} });
    await client.close();
  },
  async "http-standard-headers"(url) {
    const client = await modern(url);
    const { tools } = await client.listTools();
    for (const { name } of tools) await client.callTool({ name, arguments: {} });
    const { resources } = await client.listResources();
    for (const { uri } of resources) await client.readResource({ uri });
    const { prompts } = await client.listPrompts();
    for (const { name } of prompts) await client.getPrompt({ name });
    await client.close();
  },
  async "http-custom-headers"(url) {
    const client = await modern(url);
    await client.listTools();
    for (const call of toolCalls) await client.callTool(call);
    await client.close();
  },
  async "http-invalid-tool-headers"(url) {
    const { result } = await bare(url, "tools/list");
    for (const { name } of result.tools) {
      const headers = { "mcp-name": name, "mcp-param-region": "eu" };
      await bare(url, "tools/call", headers, { name, arguments: { region: "eu" } });
    }
  },
  async "json-schema-ref-no-deref"(url) {
    const client = await modern(url);
    await client.listTools();
    await client.close();
  },
};

const folder = mkdtempSync(join(tmpdir(), "lockgate-conformance-client-"));
let gate;
try {
  gate = await start(folder);
  await scenarios[scenario](gate.url);
} finally {
  gate?.stop();
  rmSync(folder, { recursive: true });
}

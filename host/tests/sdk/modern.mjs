// Drives one MCP server twice with the official TypeScript client 2.x, directly and through Lockgate, and
// compares what the client can see and do. The server is the one in tests/conformance/fixture.
//
//   node modern.mjs --mode auto|modern|legacy --era legacy|modern --direct stdio|URL [--command PROGRAM --arg A …]
//     [--bridged] --through stdio|URL [--through-command PROGRAM --through-arg A …]
//
// `modern` insists on the modern era, `legacy` on the other; `auto` probes for it. --era says what must come of it. Every check
// has an expectation of its own. One line per check; the exit code is the number of failed checks.

import { isDeepStrictEqual, parseArgs } from "node:util";
import { Client, StreamableHTTPClientTransport } from "@modelcontextprotocol/client";
import { StdioClientTransport } from "@modelcontextprotocol/client/stdio";

const list = { type: "string", multiple: true, default: [] };
const { values: flags } = parseArgs({
  options: {
    mode: { type: "string" },
    era: { type: "string" },
    direct: { type: "string" },
    command: { type: "string", default: process.execPath },
    arg: list,
    bridged: { type: "boolean", default: false },
    through: { type: "string" },
    "through-command": { type: "string" },
    "through-arg": list,
  },
});
const MODERN = "2026-07-28";
const legacy = flags.era === "legacy";

function must(condition, what) {
  if (!condition) throw new Error(`expected ${what}`);
}

/** A client with everything that arrives unasked kept, and a way to wait for it. */
async function connect({ at, command, args }) {
  const mode = flags.mode === "modern" ? { pin: MODERN } : flags.mode;
  const capabilities = { elicitation: { form: {} }, sampling: {}, roots: {} };
  const client = new Client({ name: "suite", version: "2.0.0" }, { capabilities, versionNegotiation: { mode } });
  const seen = { asked: [], changes: [], updates: [], logs: [] };
  const waiting = new Set();
  const note = (kind) => (message) => (seen[kind].push(message.params ?? {}), waiting.forEach((look) => look()));
  client.setNotificationHandler("notifications/tools/list_changed", note("changes"));
  client.setNotificationHandler("notifications/resources/updated", note("updates"));
  client.setNotificationHandler("notifications/message", note("logs"));
  client.setRequestHandler("elicitation/create", async ({ params }) => {
    seen.asked.push(params.message);
    return { action: "accept", content: { name: "Ada", color: "green", ok: true, context: "tests", value: "v" } };
  });
  client.setRequestHandler("sampling/createMessage", async ({ params }) => {
    seen.asked.push(params.messages[0].content.text);
    return { role: "assistant", model: "suite", content: { type: "text", text: "sampled" } };
  });
  client.setRequestHandler("roots/list", async () => ({ roots: [{ uri: "file:///suite", name: "suite" }] }));
  const stdio = at === "stdio";
  const transport = stdio ? new StdioClientTransport({ command, args, stderr: "ignore" }) : undefined;
  await client.connect(transport ?? new StreamableHTTPClientTransport(new URL(at)));
  return {
    client,
    seen,
    call: (name, args = {}, options) => client.callTool({ name, arguments: args }, options),
    until: (what, condition) =>
      new Promise((resolve, reject) => {
        const look = () => condition() && (clearTimeout(timer), waiting.delete(look), resolve());
        const timer = setTimeout(() => (waiting.delete(look), reject(new Error(`${what} did not come within 20 s`))), 20_000);
        waiting.add(look);
        look();
      }),
  };
}

const refused = async (promise) =>
  promise.then(
    (result) => ({ result }),
    ({ code, message, data }) => ({ code, message, data }),
  );
const said = (result) => result.content[0].text;

const checks = {
  async "the era that is spoken"({ client }) {
    const era = client.getProtocolEra();
    must(era === flags.era, `the ${flags.era} era, not ${era}`);
    must(legacy || client.getNegotiatedProtocolVersion() === MODERN, MODERN);
    const { extensions, tasks, ...capabilities } = client.getServerCapabilities();
    // Extensions are agreed on within an era: where it is bridged there are none, but for tasks.
    const agreed = flags.bridged ? undefined : [extensions, tasks];
    return [client.getServerVersion(), capabilities, agreed, client.getInstructions()];
  },
  async "lists"({ client }) {
    const { tools } = await client.listTools();
    // Whether a call may be a task is said in one of the eras only.
    if (flags.bridged) for (const tool of tools) delete tool.execution;
    const { prompts } = await client.listPrompts();
    const { resources } = await client.listResources();
    const { resourceTemplates } = await client.listResourceTemplates();
    must(tools.length > 30 && prompts.length === 5 && resources.length === 3, "something in every list");
    return [tools, prompts, resources, resourceTemplates];
  },
  async "content of every kind"(one) {
    const results = [];
    for (const kind of ["simple_text", "image_content", "audio_content", "embedded_resource", "multiple_content_types"])
      results.push(await one.call(`test_${kind}`));
    must(said(results[0]).includes("simple text"), "a text");
    return results;
  },
  async "an error of a tool, a tool there is not"(one) {
    const failed = await one.call("test_error_handling");
    must(failed.isError, "an error in the result");
    const unknown = await refused(one.call("no-such-tool"));
    must(unknown.code === -32602, `-32602, not ${unknown.code}`);
    return [failed, unknown];
  },
  async "an argument in a header"(one) {
    const result = await one.call("test_header_param", { region: " Zürich\n" });
    must(said(result) === "region:  Zürich\n", "the argument as it was");
    return result;
  },
  async "sixty-four calls at once"(one) {
    const results = await Promise.all(
      Array.from({ length: 64 }, (_, at) => one.call("test_header_param", { region: `${at}` })),
    );
    must(results.every((result, at) => said(result) === `region: ${at}`), "every answer to its own call");
  },
  async "progress"(one) {
    const told = [];
    await one.call("test_tool_with_progress", {}, { onprogress: (progress) => told.push(progress) });
    // The last one and the result can come in one read; the client then may drop it.
    must(told.length >= 2 && told.length <= 3, `2 or 3 progress notifications, not ${told.length}`);
    return told.slice(0, 2);
  },
  async "cancellation"(one) {
    const abort = new AbortController();
    const call = refused(one.call("slow_compute", { seconds: 30 }, { signal: abort.signal }));
    await one.call("test_simple_text");
    abort.abort("enough");
    const answer = await call;
    must(answer.code !== undefined || `${answer.message}`.includes("enough"), "the call to end by its cancellation");
    must(said(await one.call("test_simple_text")).includes("simple text"), "an answer after the cancellation");
  },
  async "questions"(one) {
    const results = [];
    for (const about of ["elicitation", "sampling", "list_roots", "request_state", "multiple_inputs", "multi_round"])
      results.push(said(await one.call(`test_input_required_result_${about}`)));
    must(results[0] === "Hello, Ada!" && results[5] === "Ada likes green", "the answers in the results");
    must(results[1] === "sampled" && results[3].startsWith("state-ok"), "the completion and the state in them");
    const { messages } = await one.client.getPrompt({ name: "test_input_required_result_prompt" });
    must(messages[0].content.text === "Context: tests", "the answer in the prompt");
    return [results, messages, one.seen.asked];
  },
  async "resources"({ client }) {
    const uris = ["test://static-text", "test://static-binary", "test://template/7/data"];
    const contents = [];
    for (const uri of uris) contents.push((await client.readResource({ uri })).contents);
    must(contents[2][0].text.includes('"id":"7"'), "the id in the contents");
    const unknown = await refused(client.readResource({ uri: "test://nothing" }));
    // In the legacy era the server says -32002, and the client says this.
    must(unknown.code === -32602, `-32602, not ${unknown.code}`);
    return [contents, unknown];
  },
  async "a prompt and a completion"({ client }) {
    const args = { arg1: "Łódź", arg2: "b" };
    const prompt = await client.getPrompt({ name: "test_prompt_with_arguments", arguments: args });
    const ref = { type: "ref/prompt", name: "test_prompt_with_arguments" };
    const { completion } = await client.complete({ ref, argument: { name: "arg1", value: "par" } });
    must(completion.values.length === 3, "three values");
    return [prompt, completion];
  },
  async "changes"(one) {
    const uri = "test://watched-resource";
    const filter = { toolsListChanged: true, resourceSubscriptions: [uri] };
    const listening = legacy ? undefined : await one.client.listen(filter);
    if (legacy) await one.client.subscribeResource({ uri });
    await one.call("test_trigger_tool_change");
    await one.until("tools/list_changed", () => one.seen.changes.length > 0);
    await one.call("test_trigger_resource_update", { uri });
    await one.until("resources/updated", () => one.seen.updates.some((update) => update.uri === uri));
    await listening?.close();
    if (legacy) await one.client.unsubscribeResource({ uri });
    return listening?.honoredFilter;
  },
  async "close"({ client }) {
    await client.close();
  },
};

async function observe(place) {
  const found = new Map();
  const one = await connect(place).catch((error) => error);
  for (const [name, run] of Object.entries(checks))
    try {
      if (one instanceof Error) throw one;
      found.set(name, { saw: (await run(one)) ?? null });
    } catch (error) {
      found.set(name, { failed: error.message });
    }
  return found;
}

/** The first place where two values differ. */
function difference(left, right, at = "") {
  if (isDeepStrictEqual(left, right)) return undefined;
  if (left && right && typeof left === "object" && typeof right === "object") {
    for (const key of new Set([...Object.keys(left), ...Object.keys(right)])) {
      const found = difference(left[key], right[key], `${at}/${key}`);
      if (found) return found;
    }
  }
  return `${at || "/"}: direct ${JSON.stringify(left)}, through Lockgate ${JSON.stringify(right)}`;
}

const direct = await observe({ at: flags.direct, command: flags.command, args: flags.arg });
const beyond = { at: flags.through, command: flags["through-command"], args: flags["through-arg"] };
const through = flags.through === undefined ? direct : await observe(beyond);
let failures = 0;
for (const [name, { saw, failed }] of direct) {
  const other = through.get(name);
  const problem =
    (failed && `directly: ${failed}`) ?? (other.failed && `through Lockgate: ${other.failed}`) ?? difference(saw, other.saw);
  if (problem) failures += 1;
  console.log(problem ? `FAIL ${name}: ${problem}` : `ok   ${name}`);
}
console.log(`${direct.size - failures} of ${direct.size} checks passed`);
process.exit(Math.min(failures, 255));

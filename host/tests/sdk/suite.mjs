// Drives one MCP server twice with the official TypeScript client, directly and through Lockgate,
// and compares what a client can see and do.
//
//   node suite.mjs --direct stdio|URL [--command PROGRAM --arg A …]
//     [--through stdio|URL] [--through-command PROGRAM --through-arg A …] [--lists-only] [--skip CHECK …]
//     [--repeats none|direct|both]
//
// A URL whose path ends in /sse is spoken to over HTTP+SSE, every other one over Streamable HTTP.
// Every check has an expectation of its own, so a check in which neither side answers fails too. What is
// between the client and the server even directly may have limits of its own: --skip leaves a check out.
// The 1.x client takes a response that is an error for none, resumes its stream a second later, and
// server-everything then sends again whatever it had sent since, on any stream: what a check counts may come
// twice. --repeats names the halves in which such a client talks to such a server with nothing between them;
// there a check that fails is made anew, five times at most. Lockgate itself must never repeat a thing.
// One line per check; the exit code is the number of failed checks (255 at most).

import { isDeepStrictEqual, parseArgs } from "node:util";
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { SSEClientTransport } from "@modelcontextprotocol/sdk/client/sse.js";
import { StdioClientTransport } from "@modelcontextprotocol/sdk/client/stdio.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import {
  CreateMessageRequestSchema,
  ElicitRequestSchema,
  ListRootsRequestSchema,
  LoggingMessageNotificationSchema,
  ResourceUpdatedNotificationSchema,
  ResultSchema,
} from "@modelcontextprotocol/sdk/types.js";

const everything = new URL("node_modules/@modelcontextprotocol/server-everything/dist/index.js", import.meta.url);
const { values: flags } = parseArgs({
  options: {
    direct: { type: "string" },
    through: { type: "string" },
    "through-command": { type: "string" },
    "through-arg": { type: "string", multiple: true, default: [] },
    skip: { type: "string", multiple: true, default: [] },
    repeats: { type: "string", default: "none" },
    command: { type: "string", default: process.execPath },
    arg: { type: "string", multiple: true, default: [everything.pathname, "stdio"] },
    "lists-only": { type: "boolean", default: false },
  },
});

const ALL = { sampling: {}, elicitation: { form: {}, url: {} }, roots: { listChanged: true } };

function transportTo({ at, command, args }) {
  if (at === "stdio") return new StdioClientTransport({ command, args, stderr: "ignore" });
  const url = new URL(at);
  return url.pathname.endsWith("/sse") ? new SSEClientTransport(url) : new StreamableHTTPClientTransport(url);
}

/** A client with everything that arrives unasked kept, and a way to wait for it. */
async function connect(place, capabilities = ALL) {
  const transport = transportTo(place);
  const client = new Client({ name: "suite", version: "1.0.0" }, { capabilities });
  const seen = { progress: [], logs: [], updates: [], asked: [], rootsAsked: 0, action: "accept" };
  const waiting = new Set();
  const wake = () => waiting.forEach((look) => look());
  const note = (list) => (message) => (list.push(message.params), wake());
  client.setNotificationHandler(LoggingMessageNotificationSchema, note(seen.logs));
  client.setNotificationHandler(ResourceUpdatedNotificationSchema, note(seen.updates));
  if (capabilities.sampling)
    client.setRequestHandler(CreateMessageRequestSchema, async (request) => {
      seen.asked.push(request.params);
      return { role: "assistant", model: "suite", stopReason: "endTurn", content: { type: "text", text: "sampled" } };
    });
  if (capabilities.elicitation)
    client.setRequestHandler(ElicitRequestSchema, async (request) => {
      seen.asked.push(request.params);
      if (seen.action !== "accept" || request.params.mode === "url") return { action: seen.action };
      return { action: "accept", content: { name: "Ada", integer: 7 } };
    });
  if (capabilities.roots)
    client.setRequestHandler(ListRootsRequestSchema, async () => {
      seen.rootsAsked += 1;
      wake();
      return { roots: [{ uri: "file:///suite/" + seen.rootsAsked, name: "root " + seen.rootsAsked }] };
    });
  await client.connect(transport);
  // Counted where they arrive: the client forgets a call's progress handler with its result, and so
  // loses a notification that comes in the same read.
  const deliver = transport.onmessage;
  transport.onmessage = (message, extra) => {
    if (message.method === "notifications/progress") seen.progress.push(message.params);
    deliver(message, extra);
  };
  return {
    client,
    seen,
    transport,
    raw: (method, params, options) => client.request({ method, params }, ResultSchema, options),
    call: (name, args = {}, options) => client.callTool({ name, arguments: args }, undefined, options),
    until: (what, condition) =>
      new Promise((resolve, reject) => {
        const look = () => condition() && (clearTimeout(timer), waiting.delete(look), resolve());
        const timer = setTimeout(() => (waiting.delete(look), reject(new Error(`${what} did not come within 20 s`))), 20_000);
        waiting.add(look);
        look();
      }),
    close: async () => {
      if (transport.terminateSession) await transport.terminateSession();
      await client.close();
    },
  };
}

async function pages(one, method, member) {
  const items = [];
  let count = 0;
  let cursor;
  do {
    const page = await one.raw(method, cursor === undefined ? {} : { cursor });
    items.push(...page[member]);
    count += 1;
    cursor = page.nextCursor;
  } while (cursor !== undefined);
  return { items, count };
}

/** What an error looks like to the client. */
const refused = async (promise) =>
  promise.then(
    (result) => ({ result }),
    (error) => ({ code: error.code, message: error.message, data: error.data }),
  );

function must(condition, what) {
  if (!condition) throw new Error(`expected ${what}`);
}

/** Ids and clock times differ between any two runs. */
function steady(value) {
  if (typeof value === "string") {
    return value
      .replace(/[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/g, "<id>")
      .replace(/\d{1,2}:\d{2}:\d{2}( [AP]M)?/g, "<time>");
  }
  if (Array.isArray(value)) return value.map(steady);
  if (value && typeof value === "object") {
    const entries = Object.entries(value).map(([key, inner]) => [
      key,
      key === "blob" ? steady(Buffer.from(inner, "base64").toString()) : steady(inner),
    ]);
    return Object.fromEntries(entries);
  }
  return value;
}

const lists = {
  async "initialize"({ client }) {
    must(client.getServerVersion()?.name, "a server name");
    must(client.getServerCapabilities()?.tools, "tools among the capabilities");
    return {
      server: client.getServerVersion(),
      capabilities: client.getServerCapabilities(),
      instructions: client.getInstructions(),
    };
  },
  async "ping"(one) {
    return one.client.ping();
  },
  async "tools/list"(one) {
    const tools = await pages(one, "tools/list", "tools");
    must(tools.items.length > 10, "more than ten tools");
    return tools.items;
  },
  async "prompts/list"(one) {
    const prompts = await pages(one, "prompts/list", "prompts");
    must(prompts.items.length > 2, "more than two prompts");
    return prompts.items;
  },
  async "resources/list"(one) {
    const resources = await pages(one, "resources/list", "resources");
    must(resources.items.length > 2, "more than two resources");
    return resources.items;
  },
  async "resources/templates/list"(one) {
    const templates = await pages(one, "resources/templates/list", "resourceTemplates");
    must(templates.items.length === 2, "two templates");
    return templates.items;
  },
  async "a cursor that nobody gave out"(one) {
    // Some servers ignore it, and Lockgate refuses what it did not seal; so only the code can be held to.
    const { code } = await refused(one.raw("tools/list", { cursor: "bm90IGEgY3Vyc29y" }));
    must(code === undefined || code === -32602, `-32602 if it is refused, not ${code}`);
  },
};

const calls = {
  async "tools/call: text"(one) {
    const result = await one.call("echo", { message: "hé\u{1F600} \u0000\n" });
    must(result.content[0].text === "Echo: hé\u{1F600} \u0000\n", "the same text back");
    return result;
  },
  async "tools/call: structured content"(one) {
    await one.client.listTools(); // so that the client validates against the output schema
    const result = await one.call("get-structured-content", { location: "New York" });
    must(result.structuredContent.temperature !== undefined, "a temperature");
    return result;
  },
  async "tools/call: numbers"(one) {
    return one.call("get-sum", { a: 0.1, b: 9007199254740991 });
  },
  async "tools/call: image"(one) {
    const result = await one.call("get-tiny-image");
    must(result.content.some((part) => part.type === "image"), "an image");
    return result;
  },
  async "tools/call: annotations"(one) {
    return one.call("get-annotated-message", { messageType: "error", includeImage: true });
  },
  async "tools/call: resource links"(one) {
    return one.call("get-resource-links", { count: 3 });
  },
  async "tools/call: embedded resource"(one) {
    return one.call("get-resource-reference", { resourceType: "Text", resourceId: 2 });
  },
  async "tools/call: arguments the tool refuses"(one) {
    return refused(one.call("echo", { message: 7 }));
  },
  async "tools/call: a tool there is not"(one) {
    const answer = await refused(one.call("no-such-tool"));
    must(answer.code !== undefined || answer.result.isError, "an error");
    return answer;
  },
  async "a method there is not"(one) {
    const answer = await refused(one.raw("no/such/method", {}));
    must(answer.code === -32601, "method not found");
    return answer;
  },
  async "sixty-four calls at once"(one) {
    const texts = await Promise.all(
      Array.from({ length: 64 }, async (_, at) => (await one.call("echo", { message: `${at}` })).content[0].text),
    );
    must(texts.every((text, at) => text === `Echo: ${at}`), "every answer to its own call");
  },
  async "progress"(one) {
    const told = [];
    const result = await one.call("trigger-long-running-operation", { duration: 0.4, steps: 4 }, {
      onprogress: (progress) => told.push(progress),
    });
    const arrived = one.seen.progress.splice(0).map(({ progress, total, message }) => ({ progress, total, message }));
    must(arrived.length === 4, `4 progress notifications, not ${arrived.length}`);
    must(told.length >= 3, `the client to recognise its token in them`);
    return { arrived, result };
  },
  async "no progress unless asked for"(one) {
    const result = await one.call("trigger-long-running-operation", { duration: 0.1, steps: 2 });
    must(one.seen.progress.length === 0, "no progress notification");
    return result;
  },
  async "cancellation"(one) {
    const abort = new AbortController();
    const answer = await refused(
      one.call("trigger-long-running-operation", { duration: 20, steps: 200 }, {
        signal: abort.signal,
        onprogress: () => abort.abort("enough"),
      }),
    );
    must(answer.message.includes("enough"), "the call to end by its cancellation");
    const after = await one.call("echo", { message: "still there" });
    must(after.content[0].text === "Echo: still there", "an answer after the cancellation");
    one.seen.progress.splice(0);
  },
  async "sampling"(one) {
    const result = await one.call("trigger-sampling-request", { prompt: "Say it", maxTokens: 5 });
    must(result.content[0].text.includes("sampled"), "the client's completion in the result");
    const asked = one.seen.asked.splice(0);
    must(asked.length === 1, `one question, not ${asked.length}`);
    return { asked, result };
  },
  async "elicitation: accepted"(one) {
    const result = await one.call("trigger-elicitation-request");
    must(JSON.stringify(result).includes("Ada"), "the user's name in the result");
    const asked = one.seen.asked.splice(0);
    must(asked.length === 1, `one question, not ${asked.length}`);
    return { asked, result };
  },
  async "elicitation: declined"(one) {
    one.seen.action = "decline";
    const result = await one.call("trigger-elicitation-request");
    must(JSON.stringify(result).includes("declined"), "the refusal in the result");
    const asked = one.seen.asked.splice(0);
    must(asked.length === 1, `one question, not ${asked.length}`);
    return { asked, result };
  },
  async "elicitation: a link to open"(one) {
    one.seen.action = "accept";
    const args = { url: "https://example.com/", elicitationId: "one" };
    const result = await one.call("trigger-url-elicitation", args);
    must(one.seen.asked[0]?.mode === "url", "a question of mode url");
    const asked = one.seen.asked.splice(0);
    must(asked.length === 1, `one question, not ${asked.length}`);
    return { asked, result };
  },
  async "elicitation: by an error"(one) {
    const answer = await refused(one.call("trigger-url-elicitation", { url: "https://example.com/", errorPath: true }));
    must(answer.code === -32042, "URL elicitation required");
    return answer;
  },
  async "roots"(one) {
    await one.until("the question for roots after initialize", () => one.seen.rootsAsked >= 1);
    // The server notes the roots some time after our answer: its log message says when.
    const noted = () => one.seen.logs.filter((log) => `${log.data}`.includes("Roots updated")).length;
    await one.until("the first log message", () => noted() >= 1);
    const before = one.seen.rootsAsked;
    await one.client.sendRootsListChanged();
    await one.until("the question for roots after they changed", () => one.seen.rootsAsked > before);
    await one.until("the second log message", () => noted() >= 2);
    // It may have asked more than once, and the message be one of an earlier answer: the latest counts.
    let text = "";
    for (let asked = 0; asked < 200; asked += 1) {
      text = (await one.call("get-roots-list")).content[0].text;
      if (text.includes("file:///suite/" + one.seen.rootsAsked)) break;
    }
    must(one.seen.rootsAsked > before && text.includes("file:///suite/" + one.seen.rootsAsked), "the latest roots");
    return text.replace(/(suite\/|root )\d+/g, "$1N");
  },
  async "resources/read: text"(one) {
    return one.raw("resources/read", { uri: "demo://resource/dynamic/text/1" });
  },
  async "resources/read: blob"(one) {
    const result = await one.raw("resources/read", { uri: "demo://resource/dynamic/blob/1" });
    must(result.contents[0].blob, "a blob");
    return result;
  },
  async "resources/read: every listed one"(one) {
    const { items } = await pages(one, "resources/list", "resources");
    return Promise.all(items.map(({ uri }) => one.raw("resources/read", { uri })));
  },
  async "resources/read: one there is not"(one) {
    const answer = await refused(one.raw("resources/read", { uri: "demo://nothing/1" }));
    must(answer.code !== undefined, "an error");
    return answer;
  },
  async "subscribe, updated, unsubscribe"(one) {
    const uri = "demo://resource/dynamic/text/7";
    await one.client.subscribeResource({ uri });
    await one.call("toggle-subscriber-updates");
    await one.until("resources/updated", () => one.seen.updates.some((update) => update.uri === uri));
    await one.call("toggle-subscriber-updates");
    await one.client.unsubscribeResource({ uri });
    return one.seen.updates[0];
  },
  async "prompts/get"(one) {
    const plain = await one.raw("prompts/get", { name: "simple-prompt" });
    must(plain.messages.length > 0, "a message");
    return [
      plain,
      await one.raw("prompts/get", { name: "args-prompt", arguments: { city: "Łódź", state: "none" } }),
      await one.raw("prompts/get", { name: "resource-prompt", arguments: { resourceType: "Text", resourceId: "3" } }),
    ];
  },
  async "prompts/get: one there is not"(one) {
    const answer = await refused(one.raw("prompts/get", { name: "no-such-prompt" }));
    must(answer.code !== undefined, "an error");
    return answer;
  },
  async "completion: prompt argument"(one) {
    const result = await one.client.complete({
      ref: { type: "ref/prompt", name: "completable-prompt" },
      argument: { name: "name", value: "A" },
      context: { arguments: { department: "Engineering" } },
    });
    must(isDeepStrictEqual(result.completion.values, ["Alice"]), "Alice");
    return result;
  },
  async "completion: resource template"(one) {
    const result = await one.client.complete({
      ref: { type: "ref/resource", uri: "demo://resource/dynamic/text/{resourceId}" },
      argument: { name: "resourceId", value: "12" },
    });
    must(result.completion.values[0] === "12", "12");
    return result;
  },
  async "logging: a level is kept to"(one) {
    const since = one.seen.logs.length;
    const about = (uri) => one.seen.logs.slice(since).some((log) => `${log.data}`.includes(uri));
    const [quiet, loud] = ["demo://resource/dynamic/text/20", "demo://resource/dynamic/text/21"];
    await one.client.setLoggingLevel("error");
    await one.client.subscribeResource({ uri: quiet });
    await one.client.setLoggingLevel("debug");
    await one.client.subscribeResource({ uri: loud });
    await one.until("the log message", () => about(loud));
    must(!about(quiet), "no message below the level");
    for (const uri of [quiet, loud]) await one.client.unsubscribeResource({ uri });
    const received = (log) => `${log.data}`.includes(loud) && `${log.data}`.includes("Received Subscribe");
    const told = one.seen.logs.slice(since).filter(received);
    must(told.length === 1, `one message, not ${told.length}`);
    return told;
  },
  async "logging: messages of the server's own"(one) {
    const before = one.seen.logs.length;
    await one.call("toggle-simulated-logging");
    await one.until("a log message", () => one.seen.logs.slice(before).some((log) => /level[ -]message/.test(`${log.data}`)));
    await one.call("toggle-simulated-logging");
  },
};

/** Checks that need connections of their own. */
const connections = {
  async "a client that can do nothing"(place) {
    const one = await connect(place, {});
    const { items } = await pages(one, "tools/list", "tools");
    await one.close();
    must(!items.some((tool) => tool.name === "trigger-sampling-request"), "no sampling tool");
    return items.map((tool) => tool.name);
  },
  async "two clients with the same ids at once"(place) {
    const two = await Promise.all([connect(place), connect(place)]);
    const answers = await Promise.all(
      two.flatMap((one, who) =>
        Array.from({ length: 20 }, async (_, at) => {
          const result = await one.call("echo", { message: `${who}/${at}` });
          return result.content[0].text === `Echo: ${who}/${at}`;
        }),
      ),
    );
    await Promise.all(two.map((one) => one.close()));
    must(answers.every(Boolean), "every answer to its own client");
  },
};

async function observe(place, repeats) {
  const found = new Map();
  const one = await connect(place);
  const once = async (run) => {
    try {
      return { saw: steady((await run()) ?? null) };
    } catch (error) {
      return { failed: error.message };
    }
  };
  const check = async (name, run) => {
    if (flags.skip.includes(name)) return;
    let outcome = await once(run);
    for (let again = 0; outcome.failed && repeats && again < 5; again += 1) {
      one.seen.asked.splice(0);
      one.seen.progress.splice(0);
      outcome = await once(run);
    }
    found.set(name, outcome);
  };
  for (const [name, run] of Object.entries(flags["lists-only"] ? lists : { ...lists, ...calls })) await check(name, () => run(one));
  await check("close", () => one.close());
  if (!flags["lists-only"]) for (const [name, run] of Object.entries(connections)) await check(name, () => run(place));
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

const direct = await observe({ at: flags.direct, command: flags.command, args: flags.arg }, flags.repeats !== "none");
const place = { at: flags.through, command: flags["through-command"], args: flags["through-arg"] };
const through = flags.through && (await observe(place, flags.repeats === "both"));
let failures = 0;
for (const [name, { saw, failed }] of direct) {
  const other = through ? through.get(name) : { saw };
  const problem =
    (failed && `directly: ${failed}`) ?? (other.failed && `through Lockgate: ${other.failed}`) ?? difference(saw, other.saw);
  if (problem) failures += 1;
  console.log(problem ? `FAIL ${name}: ${problem}` : `ok   ${name}`);
}
console.log(`${direct.size - failures} of ${direct.size} checks passed`);
process.exit(Math.min(failures, 255));

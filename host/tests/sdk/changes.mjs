// Changes the list of tools of the fixture server from the official TypeScript client over HTTP+SSE,
// and waits for the news of it.
//
//   node changes.mjs URL
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { SSEClientTransport } from "@modelcontextprotocol/sdk/client/sse.js";
import { ToolListChangedNotificationSchema } from "@modelcontextprotocol/sdk/types.js";

const client = new Client({ name: "changes", version: "1.0.0" }, { capabilities: {} });
const changed = new Promise((resolve) => client.setNotificationHandler(ToolListChangedNotificationSchema, resolve));
await client.connect(new SSEClientTransport(new URL(process.argv[2])));
const has = async () => (await client.listTools()).tools.some((tool) => tool.name === "later");
if (await has()) throw new Error("the tool is there already");
await client.callTool({ name: "add_tool", arguments: { name: "later" } });
await changed;
if (!(await has())) throw new Error("the tool is not listed");
await client.close();
console.log("the list changed");

"""Drives one MCP server twice with the official Python client, directly and through Lockgate, and
compares what a client can see and do.

    python suite.py --direct stdio|URL [--through URL] [--command PROGRAM --arg A ...]

Every check has an expectation of its own, so a check in which neither side answers fails too. One
line per check; the exit code is the number of failed checks (255 at most).
"""

import argparse
import base64
import json
import re
import sys
import warnings
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import mcp.types as types
from mcp import ClientSession, MCPError, StdioServerParameters, stdio_client
from mcp.client.sse import sse_client
from mcp.client.streamable_http import streamable_http_client

# The legacy era is what is tested here; the client warns that there is a newer one.
warnings.simplefilter("ignore")

EVERYTHING = Path(__file__).parent / "node_modules/@modelcontextprotocol/server-everything/dist/index.js"
PATIENCE = 20
"""Seconds until something that must come is given up on."""


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("--direct", required=True)
    parser.add_argument("--through")
    parser.add_argument("--command", default="node")
    parser.add_argument("--arg", action="append")
    parser.add_argument("--everything", default=str(EVERYTHING), help="where server-everything's index.js is")
    return parser.parse_args()


FLAGS = arguments()


class One:
    """One connected client, with what arrived unasked."""

    def __init__(self):
        self.logs, self.updates, self.asked, self.roots = [], [], [], 0
        self.action = "accept"
        self.arrived = anyio.Event()
        self.session: ClientSession

    def wake(self):
        self.arrived.set()
        self.arrived = anyio.Event()

    async def until(self, what, condition):
        with anyio.move_on_after(PATIENCE):
            while not condition():
                await self.arrived.wait()
        if not condition():
            raise AssertionError(f"{what} did not come within {PATIENCE} s")

    async def on_log(self, params):
        self.logs.append(str(params.data))
        self.wake()

    async def on_message(self, message):
        if isinstance(message, types.ResourceUpdatedNotification):
            self.updates.append(str(message.params.uri))
            self.wake()

    async def on_sampling(self, context, params):
        self.asked.append(params)
        content = types.TextContent(type="text", text="sampled")
        return types.CreateMessageResult(role="assistant", model="suite", content=content, stop_reason="endTurn")

    async def on_elicitation(self, context, params):
        self.asked.append(params)
        if self.action != "accept" or isinstance(params, types.ElicitRequestURLParams):
            return types.ElicitResult(action=self.action)
        return types.ElicitResult(action="accept", content={"name": "Ada", "integer": 7})

    async def on_roots(self, context):
        self.roots += 1
        self.wake()
        return types.ListRootsResult(roots=[types.Root(uri=f"file:///suite/{self.roots}", name=f"root {self.roots}")])


@asynccontextmanager
async def connect(place, able=True):
    """A session with the server at `place`; `able` says whether it answers questions."""
    one = One()
    answers = dict(sampling_callback=one.on_sampling, elicitation_callback=one.on_elicitation,
                   list_roots_callback=one.on_roots) if able else {}
    if place == "stdio":
        args = FLAGS.arg or [FLAGS.everything, "stdio"]
        with open("/dev/null", "w") as quiet:
            async with stdio_client(StdioServerParameters(command=FLAGS.command, args=args), errlog=quiet) as streams:
                async with session(one, streams, answers):
                    yield one
    else:
        # A URL whose path ends in /sse is one of the transport before.
        async with (sse_client if place.endswith("/sse") else streamable_http_client)(place) as streams:
            async with session(one, streams, answers):
                yield one


@asynccontextmanager
async def session(one, streams, answers):
    info = types.Implementation(name="suite", version="1.0.0")
    async with ClientSession(*streams, logging_callback=one.on_log, message_handler=one.on_message,
                             client_info=info, read_timeout_seconds=60, **answers) as opened:
        one.session = opened
        one.initialized = await opened.initialize()
        yield one


async def pages(method, member):
    items, cursor = [], None
    while True:
        page = await method(params=types.PaginatedRequestParams(cursor=cursor))
        items += getattr(page, member)
        if (cursor := page.next_cursor) is None:
            return items


async def refused(awaitable):
    """What an error looks like to the client."""
    try:
        return {"result": await awaitable}
    except MCPError as error:
        return {"code": error.error.code, "message": error.error.message, "data": error.error.data}


def must(condition, what):
    if not condition:
        raise AssertionError(f"expected {what}")


def text(result):
    return result.content[0].text


CHECKS = []


def check(name):
    def keep(run):
        CHECKS.append((name, run))
        return run
    return keep


@check("initialize")
async def _(one):
    must(one.initialized.protocol_version == "2025-11-25", f"2025-11-25, not {one.initialized.protocol_version}")
    return one.initialized


@check("ping")
async def _(one):
    return await one.session.send_ping()


@check("lists, page by page")
async def _(one):
    found = {
        "tools": await pages(one.session.list_tools, "tools"),
        "prompts": await pages(one.session.list_prompts, "prompts"),
        "resources": await pages(one.session.list_resources, "resources"),
        "templates": await pages(one.session.list_resource_templates, "resource_templates"),
    }
    must(all(found.values()) and len(found["tools"]) > 10, "something in every list")
    return found


@check("tools/call")
async def _(one):
    await one.session.list_tools()  # so that the client validates against the output schema
    echo = await one.session.call_tool("echo", {"message": "hé\U0001f600\n"})
    must(text(echo) == "Echo: hé\U0001f600\n", "the same text back")
    return [
        echo,
        await one.session.call_tool("get-structured-content", {"location": "Chicago"}),
        await one.session.call_tool("get-sum", {"a": 0.1, "b": 2}),
        await one.session.call_tool("get-tiny-image"),
        await one.session.call_tool("get-annotated-message", {"messageType": "success", "includeImage": True}),
        await one.session.call_tool("get-resource-links", {"count": 2}),
    ]


@check("tools/call: a tool there is not, arguments it refuses")
async def _(one):
    unknown = await refused(one.session.call_tool("no-such-tool"))
    must("code" in unknown or unknown["result"].is_error, "an error")
    return [unknown, await refused(one.session.call_tool("echo", {"message": 7}))]


@check("sixty-four calls at once")
async def _(one):
    wrong = []

    async def ask(at):
        if text(await one.session.call_tool("echo", {"message": str(at)})) != f"Echo: {at}":
            wrong.append(at)

    async with anyio.create_task_group() as tasks:
        for at in range(64):
            tasks.start_soon(ask, at)
    must(not wrong, f"every answer to its own call, but not {wrong}")


@check("progress")
async def _(one):
    told = []

    async def tell(progress, total, message):
        told.append((progress, total, message))

    arguments = {"duration": 0.4, "steps": 4}
    result = await one.session.call_tool("trigger-long-running-operation", arguments, progress_callback=tell)
    # The last one and the result can come in one read; the client then may drop it.
    must(3 <= len(told) <= 4, f"3 or 4 progress notifications at the handler, not {len(told)}")
    return {"told": told[:3], "result": result}


@check("cancellation")
async def _(one):
    with anyio.CancelScope() as scope:
        async def tell(progress, total, message):
            scope.cancel()

        arguments = {"duration": 20, "steps": 200}
        await one.session.call_tool("trigger-long-running-operation", arguments, progress_callback=tell)
    must(scope.cancelled_caught, "the call to end by its cancellation")
    must(text(await one.session.call_tool("echo", {"message": "after"})) == "Echo: after", "an answer after it")


@check("sampling")
async def _(one):
    result = await one.session.call_tool("trigger-sampling-request", {"prompt": "Say it", "maxTokens": 5})
    must("sampled" in text(result), "the client's completion in the result")
    return [one.asked.pop(), result]


@check("elicitation: accepted")
async def _(one):
    result = await one.session.call_tool("trigger-elicitation-request")
    must("Ada" in str(result), "the user's name in the result")
    return [one.asked.pop(), result]


@check("elicitation: declined")
async def _(one):
    one.action = "decline"
    result = await one.session.call_tool("trigger-elicitation-request")
    one.action = "accept"
    must("declined" in text(result), "the refusal in the result")
    return [one.asked.pop(), result]


@check("roots")
async def _(one):
    await one.until("the question for roots after initialize", lambda: one.roots >= 1)
    # The server notes the roots some time after our answer: its log message says when.
    noted = lambda: sum("Roots updated" in log for log in one.logs)
    await one.until("the first log message", lambda: noted() >= 1)
    before = one.roots
    await one.session.send_roots_list_changed()
    await one.until("the question for roots after they changed", lambda: one.roots > before)
    await one.until("the second log message", lambda: noted() >= 2)
    result = await one.session.call_tool("get-roots-list")
    must("file:///suite/2" in text(result), "the second set of roots")
    return result


@check("resources/read")
async def _(one):
    listed = await pages(one.session.list_resources, "resources")
    blob = await one.session.read_resource("demo://resource/dynamic/blob/1")
    must(blob.contents[0].blob, "a blob")
    unknown = await refused(one.session.read_resource("demo://nothing/1"))
    must("code" in unknown, "an error for one there is not")
    return [blob, unknown] + [await one.session.read_resource(resource.uri) for resource in listed]


@check("subscribe, updated, unsubscribe")
async def _(one):
    uri = "demo://resource/dynamic/text/7"
    await one.session.subscribe_resource(uri)
    await one.session.call_tool("toggle-subscriber-updates")
    await one.until("resources/updated", lambda: uri in one.updates)
    await one.session.call_tool("toggle-subscriber-updates")
    await one.session.unsubscribe_resource(uri)


@check("prompts/get")
async def _(one):
    unknown = await refused(one.session.get_prompt("no-such-prompt"))
    must("code" in unknown, "an error for one there is not")
    arguments = {"resourceType": "Text", "resourceId": "3"}
    return [
        unknown,
        await one.session.get_prompt("simple-prompt"),
        await one.session.get_prompt("args-prompt", {"city": "Łódź"}),
        await one.session.get_prompt("resource-prompt", arguments),
    ]


@check("completion")
async def _(one):
    prompt = await one.session.complete(
        types.PromptReference(type="ref/prompt", name="completable-prompt"),
        {"name": "name", "value": "A"}, {"department": "Engineering"})
    must(prompt.completion.values == ["Alice"], "Alice")
    template = await one.session.complete(
        types.ResourceTemplateReference(type="ref/resource", uri="demo://resource/dynamic/text/{resourceId}"),
        {"name": "resourceId", "value": "12"})
    must(template.completion.values == ["12"], "12")
    return [prompt, template]


@check("logging: a level is kept to")
async def _(one):
    quiet, loud = "demo://resource/dynamic/text/20", "demo://resource/dynamic/text/21"
    await one.session.set_logging_level("error")
    await one.session.subscribe_resource(quiet)
    await one.session.set_logging_level("debug")
    await one.session.subscribe_resource(loud)
    await one.until("the log message", lambda: any(loud in log for log in one.logs))
    must(not any(quiet in log for log in one.logs), "no message below the level")
    for uri in (quiet, loud):
        await one.session.unsubscribe_resource(uri)


def plain(value):
    """JSON without what differs between any two runs: ids and clock times."""
    if hasattr(value, "model_dump"):
        value = value.model_dump(mode="json", by_alias=True)
    if isinstance(value, dict):
        return {k: plain(base64.b64decode(v).decode()) if k == "blob" and v else plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, str):
        value = re.sub(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "<id>", value)
        return re.sub(r"\d{1,2}:\d{2}:\d{2}( [AP]M)?", "<time>", value)
    return value


async def observe(place):
    found = {}
    try:
        async with connect(place) as one:
            for name, run in CHECKS:
                try:
                    with anyio.fail_after(3 * PATIENCE):
                        found[name] = ("saw", plain(await run(one)))
                except Exception as error:  # whatever it is, it is the check's result
                    found[name] = ("failed", f"{type(error).__name__}: {error}")
        found["close"] = ("saw", None)
    except BaseException as error:
        found["close"] = ("failed", f"{type(error).__name__}: {error}")
    try:
        async with connect(place, able=False) as one:
            names = [tool.name for tool in await pages(one.session.list_tools, "tools")]
            must("trigger-sampling-request" not in names, "no sampling tool")
            found["a client that can do nothing"] = ("saw", names)
    except Exception as error:
        found["a client that can do nothing"] = ("failed", f"{type(error).__name__}: {error}")
    return found


def difference(direct, through, at=""):
    """The first place where two values differ."""
    if direct == through:
        return None
    if isinstance(direct, dict) and isinstance(through, dict):
        for key in [*direct, *through]:
            if found := difference(direct.get(key), through.get(key), f"{at}/{key}"):
                return found
    if isinstance(direct, list) and isinstance(through, list) and len(direct) == len(through):
        for index, pair in enumerate(zip(direct, through)):
            if found := difference(*pair, f"{at}/{index}"):
                return found
    return f"{at or '/'}: direct {json.dumps(direct)}, through Lockgate {json.dumps(through)}"


async def main():
    direct = await observe(FLAGS.direct)
    through = await observe(FLAGS.through) if FLAGS.through else direct
    failures = 0
    for name in {**direct, **through}:
        one, other = (side.get(name, ("failed", "not reached")) for side in (direct, through))
        if one[0] == "failed":
            problem = f"directly: {one[1]}"
        elif other[0] == "failed":
            problem = f"through Lockgate: {other[1]}"
        else:
            problem = difference(one[1], other[1])
        failures += problem is not None
        print(f"FAIL {name}: {problem}" if problem else f"ok   {name}")
    print(f"{len(direct) - failures} of {len(direct)} checks passed")
    sys.exit(min(failures, 255))


anyio.run(main)

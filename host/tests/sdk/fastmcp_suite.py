"""Uses the fixture server with the client of FastMCP, and says what worked.

    python fastmcp_suite.py --transport sse|http|stdio --version 2025-11-25 URL|COMMAND [ARG ...]

The checks are those of the Go clients (`go/suite/suite.go`). One line per check; the exit code is 1 if
one failed.
"""

import argparse
import json
import logging
import sys
import time
import warnings

import anyio
from fastmcp import Client
from fastmcp.client.sampling import RequestContext
from fastmcp.client.transports import SSETransport, StdioTransport, StreamableHttpTransport
from mcp import MCPError

warnings.simplefilter("ignore")
logging.disable(logging.CRITICAL)

PATIENCE = 4
"""Seconds that a check may take: a client that falls back only after its own patience (10 s) fails."""

SAMPLED, NAMED, ROOT = "sampled by the suite", "Ada", "file:///the/root"


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("--transport", required=True)
    parser.add_argument("--version", required=True)
    parser.add_argument("target", nargs=argparse.REMAINDER)
    return parser.parse_args()


FLAGS = arguments()


def transport():
    target = FLAGS.target
    match FLAGS.transport:
        case "sse":
            return SSETransport(target[0])
        case "http":
            return StreamableHttpTransport(target[0])
        case _:
            return StdioTransport(target[0], target[1:], keep_alive=False)


async def on_sampling(messages, params, context: RequestContext):
    return SAMPLED


async def on_elicitation(message, response_type, params, context):
    return {"name": NAMED}


def has(text, wanted):
    if wanted not in text:
        raise AssertionError(f"no {wanted[:60]!r} in {text[:200]!r}")


async def called(client, tool, arguments, wanted):
    result = await client.call_tool(tool, arguments)
    has(json.dumps([block.model_dump(mode="json") for block in result.content]), wanted)


async def revision(client):
    has(client.protocol_version or "", FLAGS.version)


async def tools(client):
    has(",".join(tool.name for tool in await client.list_tools()), "echo")


async def a_call(client):
    await called(client, "echo", {"text": "hello"}, "hello")


async def a_large_call(client):
    text = "0123456789" * 10_000
    await called(client, "echo", {"text": text}, text)


async def sampling(client):
    await called(client, "ask_sampling", {"text": "?"}, SAMPLED)


async def elicitation(client):
    await called(client, "ask_elicitation", {"text": "?"}, NAMED)


async def roots(client):
    await called(client, "ask_roots", {"text": "?"}, ROOT)


async def progress(client):
    heard, four = [], anyio.Event()

    async def on_progress(done, total, message):
        heard.append(done)
        if len(heard) == 4:
            four.set()

    await client.call_tool("progress", {"n": 4}, progress_handler=on_progress)
    await four.wait()


async def an_unknown_tool(client):
    try:
        result = await client.call_tool("no such tool", {})
    except Exception as error:
        return has(str(error), "no such tool")
    raise AssertionError(f"it answers {result!r}")


async def a_prompt(client):
    result = await client.get_prompt("greet", {"who": "me"})
    has(result.messages[0].content.text, "greet")


async def a_resource(client):
    has((await client.read_resource("fixture://open/notes"))[0].text, "content of fixture://open/notes")


async def calls_at_once(client):
    async with anyio.create_task_group() as group:
        for number in range(8):
            group.start_soon(called, client, "echo", {"text": f"number {number}"}, f"number {number}")


async def a_call_that_is_given_up(client):
    begun = anyio.Event()

    async def on_progress(done, total, message):
        begun.set()

    async with anyio.create_task_group() as group:

        async def waits():
            await client.call_tool("wait", {"key": "given up", "tell": True}, progress_handler=on_progress)
            raise AssertionError("it was answered")

        group.start_soon(waits)
        await begun.wait()
        group.cancel_scope.cancel()
    # That the server hears of it is seen in what it wrote down.
    await called(client, "echo", {"text": "hello"}, "hello")


CHECKS = [
    revision, tools, a_call, a_large_call, sampling, elicitation, roots, roots, progress, an_unknown_tool,
    a_prompt, a_resource, calls_at_once, a_call_that_is_given_up,
]  # fmt: skip


async def main():
    began = time.monotonic()
    client = Client(
        transport(), roots=[ROOT], sampling_handler=on_sampling, elicitation_handler=on_elicitation, mode="auto"
    )
    failed = 0
    try:
        with anyio.fail_after(PATIENCE):
            await client.__aenter__()
    except Exception as error:
        sys.exit(f"FAILED connect after {time.monotonic() - began:.1f} s: {error!r}")
    for check in CHECKS:
        try:
            with anyio.fail_after(PATIENCE):
                await check(client)
            print(f"ok {check.__name__}")
        except Exception as error:
            failed += 1
            print(f"FAILED {check.__name__}: {error!r}")
    print(f"{len(CHECKS) - failed} of {len(CHECKS)} checks passed")
    await client.close()
    sys.exit(1 if failed else 0)


anyio.run(main)

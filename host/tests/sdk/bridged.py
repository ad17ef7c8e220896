"""Drives a server of the modern era through Lockgate with the official Python client in the legacy era.
The server is the one in tests/conformance/fixture.

    python bridged.py URL

A URL whose path ends in /sse is spoken to over HTTP+SSE, every other one over Streamable HTTP.
"""

import sys
import warnings

import anyio
import mcp.types as types
from mcp import ClientSession, MCPError
from mcp.client.sse import sse_client
from mcp.client.streamable_http import streamable_http_client

# The legacy era is what is tested here; the client warns that there is a newer one.
warnings.simplefilter("ignore")

URL = sys.argv[1]


async def elicited(context, params):
    content = {"name": "Ada", "color": "green", "ok": True, "context": "tests", "value": "v"}
    return types.ElicitResult(action="accept", content=content)


async def sampled(context, params):
    content = types.TextContent(type="text", text="sampled")
    return types.CreateMessageResult(role="assistant", model="bridged", content=content)


async def rooted(context):
    return types.ListRootsResult(roots=[types.Root(uri="file:///r", name="r")])


async def main():
    logs, updates, told = [], [], []
    updated = anyio.Event()

    async def on_log(params):
        logs.append(params.level)

    async def on_message(message):
        if isinstance(message, types.ResourceUpdatedNotification):
            updates.append(str(message.params.uri))
            updated.set()

    async def tell(progress, total, message):
        told.append(progress)

    async with (sse_client if URL.endswith("/sse") else streamable_http_client)(URL) as streams:
        info = types.Implementation(name="bridged", version="1.0.0")
        async with ClientSession(*streams, logging_callback=on_log, message_handler=on_message, client_info=info,
                                 read_timeout_seconds=60, sampling_callback=sampled,
                                 elicitation_callback=elicited, list_roots_callback=rooted) as session:
            said = await session.initialize()
            assert said.protocol_version == "2025-11-25", said
            await session.send_ping()
            assert len((await session.list_tools()).tools) > 30
            assert len((await session.list_resources()).resources) == 3
            await session.call_tool("test_tool_with_progress", {}, progress_callback=tell)
            assert len(told) >= 2, told
            await session.set_logging_level("info")
            await session.call_tool("test_tool_with_logging", {})
            assert "info" in logs, logs
            for about, expected in [("elicitation", "Hello, Ada!"), ("sampling", "sampled"),
                                    ("list_roots", "file:///r"), ("request_state", "state-ok"),
                                    ("multi_round", "Ada likes green")]:
                result = await session.call_tool(f"test_input_required_result_{about}", {})
                assert expected in result.content[0].text, (about, result)
            uri = "test://watched-resource"
            await session.subscribe_resource(uri)
            await session.call_tool("test_trigger_resource_update", {"uri": uri})
            with anyio.fail_after(20):
                await updated.wait()
            assert updates[0] == uri, updates
            await session.unsubscribe_resource(uri)
            try:
                raise AssertionError(await session.read_resource("test://nothing"))
            except MCPError as error:
                assert error.error.code == -32002, error
    print("all of it works")


anyio.run(main)

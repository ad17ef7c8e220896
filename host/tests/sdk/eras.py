"""One official Python client and a server of the other era behind Lockgate: it lists, calls, and is asked.

    python eras.py --mode auto|legacy|2026-07-28 URL

The server is the one in tests/conformance/fixture. Prints what was seen as one line of JSON.
"""

import argparse
import json
import warnings

import anyio
import mcp.types as types
from mcp.client.client import Client

# Some of what is asked is deprecated in the newest revision, and still in use.
warnings.simplefilter("ignore")

parser = argparse.ArgumentParser()
parser.add_argument("--mode", required=True)
parser.add_argument("url")
flags = parser.parse_args()
asked = []


async def elicited(context, params):
    asked.append(params.message)
    return types.ElicitResult(action="accept", content={"name": "Ada"})


async def sampled(context, params):
    asked.append(params.messages[0].content.text)
    content = types.TextContent(type="text", text="sampled")
    return types.CreateMessageResult(role="assistant", model="suite", content=content)


async def roots(context):
    asked.append("roots")
    return types.ListRootsResult(roots=[types.Root(uri="file:///suite", name="suite")])


async def main():
    callbacks = {"elicitation_callback": elicited, "sampling_callback": sampled, "list_roots_callback": roots}
    async with Client(flags.url, mode=flags.mode, **callbacks) as client:

        async def said(name):
            return (await client.call_tool(name, {})).content[0].text

        seen = {
            "era": "modern" if client.protocol_version >= "2026" else "legacy",
            "tools": len((await client.list_tools()).tools),
            "prompts": len((await client.list_prompts()).prompts),
            "resources": len((await client.list_resources()).resources),
            "plain": await said("test_simple_text"),
            "elicitation": await said("test_input_required_result_elicitation"),
            "sampling": await said("test_input_required_result_sampling"),
            "roots": await said("test_input_required_result_list_roots"),
            "rounds": await said("test_input_required_result_multi_round"),
        }
    print(json.dumps({**seen, "asked": asked}))


anyio.run(main)

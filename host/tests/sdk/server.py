"""A server made with the official Python SDK: `server.py TRANSPORT PORT`, as its users would write it."""

import sys

from mcp.server import MCPServer
from mcp.server.mcpserver import Context

server = MCPServer("pythonic", version="1.0.0")


@server.tool()
def add(a: int, b: int) -> int:
    """Adds two numbers."""
    return a + b


@server.tool()
async def count(to: int, ctx: Context) -> str:
    """Counts and tells how far it is."""
    for done in range(1, to + 1):
        await ctx.report_progress(done, to)
    return f"counted to {to}"


transport, port = sys.argv[1], int(sys.argv[2])
server.run(transport, **({} if transport == "stdio" else {"host": "127.0.0.1", "port": port}))

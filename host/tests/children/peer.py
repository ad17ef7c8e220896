"""A legacy server for the tests of what one caller can do to others. Arguments choose how it is bad."""
import json, os, sys, time

how = set(sys.argv[1:])
if "hang-at-start" in how and os.path.exists(os.environ.get("HANG", "/nowhere")):
    time.sleep(100000)


def say(message):
    print(json.dumps({"jsonrpc": "2.0", **message}), flush=True)


def discover(id):
    """What it answers to a question that it does not know."""
    if "internal" in how:
        return {"id": id, "error": {"code": -32603, "message": "boom"}}
    if "session" in how:
        return {"id": id, "error": {"code": -32001, "message": "no session"}}
    return {"id": id, "result": {}}


for line in sys.stdin:
    message = json.loads(line)
    method, id, params = message.get("method"), message.get("id"), message.get("params") or {}
    if id is None or method is None:
        continue
    if method == "initialize":
        name = params["clientInfo"]["name"]
        if not isinstance(params["capabilities"].get("roots", {}), dict):
            say({"id": id, "error": {"code": -32602, "message": "bad roots, says the text of " + name}})
        elif name == "crash":
            print("the words of", name, file=sys.stderr, flush=True)
            sys.exit(3)
        else:
            version = params["protocolVersion"]
            say({"id": id, "result": {"protocolVersion": version, "capabilities": {"tools": {}},
                 "serverInfo": {"name": "peer", "version": "1"}}})
    elif method == "tools/list":
        say({"id": id, "result": {"tools": [{"name": "pid", "inputSchema": {"type": "object"}}]}})
    elif method == "tools/call" and params["name"] == "die":
        sys.exit(3)
    elif method == "tools/call" and params["name"] == "hang":
        # So that the test knows that it has begun.
        print("now hanging", file=sys.stderr, flush=True)
        token = params.get("_meta", {}).get("progressToken")
        if token is not None:
            say({"method": "notifications/progress", "params": {"progressToken": token, "progress": 1}})
    elif method == "tools/call":
        say({"id": id, "result": {"content": [{"type": "text", "text": str(os.getpid())}]}})
    else:
        say(discover(id))

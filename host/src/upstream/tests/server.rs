//! A small MCP server over stdio, as the text of a Python program.

/// Does what the name of a tool says. `hold` answers only once `release` is called.
pub(super) const SERVER: &str = r#"
import sys, os, json, time, threading
out = sys.stdout.buffer
lock = threading.Lock()
held = []      # (id, arguments)
asked = {}     # question id as raw text -> id of the call that asked
cancelled = []
def raw(text):
    with lock:
        out.write(text.encode() + b"\n"); out.flush()
def send(message):
    raw(json.dumps(message))
def answer(id, result):
    send({"result": result, "jsonrpc": "2.0", "id": id})
for line in sys.stdin.buffer:
    message = json.loads(line)
    method, id = message.get("method"), message.get("id")
    params = message.get("params") or {}
    if method == "initialize":
        answer(id, {"protocolVersion": params["protocolVersion"], "capabilities": params["capabilities"], "serverInfo": params["clientInfo"]})
    elif method == "notifications/cancelled":
        cancelled.append(params["requestId"])
        send({"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "info", "data": ["cancelled", params["requestId"]]}})
    elif method == "notifications/initialized":
        pass
    elif method and id is None:
        send({"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "info", "data": message}})
    elif method == "tools/call":
        name, arguments, token = params["name"], params.get("arguments"), params.get("_meta", {}).get("progressToken")
        if name == "echo":
            raw('{"jsonrpc":"2.0","id":%d,"result":{"echo":%s,"big":12345678901234567890.10}}' % (id, json.dumps(arguments)))
        elif name == "wire":
            answer(id, {"id": id, "token": token})
        elif name == "hold":
            held.append((id, arguments, token))
            send({"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progressToken": token, "progress": 0, "message": arguments}})
        elif name == "release":
            for (i, a, t) in reversed(held):
                for n in range(1, 4):
                    send({"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progressToken": t, "progress": n, "message": a}})
                answer(i, {"for": a})
                send({"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progressToken": t, "progress": 99}})
            held.clear()
            answer(id, {"cancelled": cancelled})
        elif name == "ticks":
            def tick(id, token, times, pause):
                for n in range(times):
                    time.sleep(pause)
                    send({"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progressToken": token, "progress": n + 1}})
                answer(id, {"done": times})
            threading.Thread(target=tick, args=(id, token, arguments["times"], arguments["pause"]), daemon=True).start()
        elif name == "ask":
            question = arguments["id"]
            asked[json.dumps(json.loads(question))] = id
            raw('{"jsonrpc":"2.0","method":"%s","id":%s,"params":{"_meta":{"progressToken":7}}}' % (arguments["method"], question))
        elif name == "ask badly":
            asked[json.dumps(arguments)] = id
            raw('{"jsonrpc":"2.0","method":"roots/list","id":%s,"params":[]}' % json.dumps(arguments))
        elif name == "ask and go":
            raw('{"jsonrpc":"2.0","method":"roots/list","id":"later"}')
            answer(id, {"gone": True})
        elif name == "void":
            send({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": arguments["id"]}})
            answer(id, {})
        elif name == "notice":
            send({"jsonrpc": "2.0", "method": arguments["method"], "params": {"data": "x", "uri": "u"}})
            answer(id, {})
        elif name == "noise":
            raw("Server starting \x1b[31m...\x07"); raw(""); raw("  "); raw("{not json"); raw("[1,2]"); raw('"text"'); raw("null")
            raw('{"jsonrpc":"2.0","id":%d,"id":%d,"result":{}}' % (id + 1000, id + 1000))
            with lock:
                out.write(b"\xff\xfe\n" + b"log line\n" * arguments["lines"]); out.flush()
            answer(id, {"noisy": True})
        elif name == "illegal":
            raw('{"jsonrpc":"2.0","id":%d,"result":{"a":1,"a":2}}' % id)
        elif name == "long":
            text = "x" * arguments["bytes"]
            if arguments["first"]:
                raw('{"jsonrpc":"2.0","id":%d,"result":{"text":"%s"}}' % (id, text))
            else:
                raw('{"result":{"text":"%s"},"jsonrpc":"2.0","id":%d}' % (text, id))
        elif name == "flood":
            for n in range(200):
                sys.stderr.write("flood " * 10000 + "\n")
            answer(id, {"flooded": True})
        elif name == "die":
            sys.stderr.write("something went wrong\nat the very end\n"); sys.stderr.flush()
            os._exit(3)
        elif name == "close":
            raw('{"jsonrpc":"2.0","id":%d,"result":{"cut' % id if False else ""); os.close(1); time.sleep(60)
        elif name == "environment":
            answer(id, {"env": dict(os.environ), "cwd": os.getcwd(), "fds": os.listdir("/proc/self/fd"), "pid": os.getpid(), "group": os.getpgid(0)})
        elif name == "deaf":
            answer(id, {}); time.sleep(arguments["seconds"])
    elif method is None:
        key = json.dumps(id)
        if key not in asked:
            send({"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "info", "data": message}})
            continue
        answer(asked.pop(key), {"answer": line.decode().strip()})
"#;

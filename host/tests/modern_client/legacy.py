"""An MCP server of 2025-11-25 over stdio, or (--http) Streamable HTTP with sessions: it asks, dies and lies as told.

Written for these tests, from the specification. What arrives is appended to the file that --log names.
"""
import json, os, sys, threading, time, uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

LOG = sys.argv[sys.argv.index("--log") + 1] if "--log" in sys.argv else None
ELICIT = {"type": "object", "properties": {"name": {"type": "string"}}}
BORN = "2026-01-01T00:00:00Z"
lock = threading.Lock()

def log(line):
    if LOG:
        with lock, open(LOG, "a") as file:
            file.write(json.dumps(line) + "\n")

class Session:
    """One client: its way out for what belongs to a request, and what it was asked."""
    def __init__(self):
        self.out, self.waiting, self.asked, self.cancelled = {}, {}, 0, set()
        self.first, self.capabilities = [], {}
        self.count, self.level, self.subscribed, self.visited, self.tasks = 0, None, set(), 0, {}

    def send(self, request, message):
        self.out.get(json.dumps(request), self.out.get(None))({"jsonrpc": "2.0", **message})

    def start(self, request, method, params):
        with lock:
            self.asked += 1
            id, event = f"q{self.asked}", threading.Event()
            self.waiting[id] = [event, None]
        self.send(request, {"id": id, "method": method, "params": params})
        return id

    def wait(self, id):
        event, _ = self.waiting[id]
        event.wait()
        answer = self.waiting.pop(id)[1]
        return answer.get("result", {"error": answer.get("error")})

    def ask(self, request, kind, text):
        return self.wait(self.start(request, *question(kind, text)))

    def take(self, message):
        log(message)
        method, id, params = message.get("method"), message.get("id"), message.get("params") or {}
        if method is None:
            if id in self.waiting:
                self.waiting[id][1] = message
                self.waiting[id][0].set()
        elif id is None:
            if method == "notifications/cancelled":
                self.cancelled.add(json.dumps(params["requestId"]))
            # As server-filesystem does without directories.
            if method == "notifications/initialized" and "--asks-first" in sys.argv and "roots" in self.capabilities:
                id = self.start(None, *question("roots", ""))
                threading.Thread(target=lambda: self.first.append(self.wait(id)), daemon=True).start()
        else:
            threading.Thread(target=self.answer, args=(id, method, params), daemon=True).start()

    def answer(self, id, method, params):
        try:
            self.send(id, {"id": id, "result": self.result(id, method, params)})
        except Refused as refused:
            self.send(id, {"id": id, "error": refused.error})

    def result(self, id, method, params):
        if method == "initialize":
            self.capabilities = params["capabilities"]
            return {"protocolVersion": params["protocolVersion"], "capabilities": {"tools": {"listChanged": True},
                "resources": {"subscribe": True}, "logging": {}, "tasks": {"requests": {"tools": {"call": {}}}}, "experimental": {"x": {}}},
                "serverInfo": {"name": "legacy", "version": "0"}, "instructions": "be \u00e9xact", "resultType": "input_required"}
        if method == "tools/list":
            names = ["ask", "ask_all", "ask_twice", "ask_more", "task", "endless_task", "any_task", "fake", "page", "count", "die", "steps", "hold", "capabilities", "late"]
            return {"resultType": "input_required", "ttlMs": 99, "tools": [{"name": name, "inputSchema": {"type": "object"},
                "execution": {"taskSupport": "required" if name.endswith("task") else "forbidden"}} for name in names]}
        if method == "logging/setLevel":
            self.level = params["level"]
            return {}
        if method == "resources/read":
            raise Refused(-32002, "Resource not found")
        if method in ("resources/subscribe", "resources/unsubscribe"):
            if params["uri"] == "x:refused":
                raise Refused(-32002, "Resource not found")
            (self.subscribed.add if method.endswith("/subscribe") else self.subscribed.discard)(params["uri"])
            return {}
        if method == "tasks/get":
            task = self.tasks[params["taskId"]]
            task["looks"] += 1
            gate = task["wanted"].get("until")
            working = task["looks"] < 3 or (gate is not None and not os.path.exists(gate))
            status = "working" if working else task["wanted"].get("status", "input_required")
            if "die" in task["wanted"]:
                threading.Timer(0.05, os._exit, [3]).start()
            return {"taskId": params["taskId"], "status": status, "pollInterval": 1, **task["says"]}
        if method == "tasks/result":
            related = {"io.modelcontextprotocol/related-task": {"taskId": params["taskId"]}}
            return {**self.outcome(id, self.tasks[params["taskId"]]["wanted"]), "_meta": related}
        if method == "tasks/cancel":
            return {"taskId": params["taskId"], "status": "cancelled"}
        if method == "completion/complete":
            until(params["argument"]["value"])
            return {"completion": {"values": []}}
        if method == "tools/call":
            return self.tool(id, params["name"], params.get("arguments") or {}, params)
        raise Refused(-32601, "Method not found")

    def outcome(self, id, wanted):
        """What a task comes to that was called with these arguments."""
        if "wait" in wanted:
            until(wanted["wait"])
        ids = [self.start(id, *question(kind, "in a task")) for kind in wanted.get("ask", ["elicitation"])]
        said = [self.wait(one) for one in ids]
        said += [self.ask(id, kind, "later") for kind in wanted.get("then", [])]
        if "fault" in wanted:
            raise Refused(wanted["fault"], "it broke", {"k": 1})
        return {**text(json.dumps(said if "ask" in wanted else said[0])), "structuredContent": {}, **({"isError": True} if "bad" in wanted else {})}

    def tool(self, id, name, arguments, params):
        said = arguments.get("text", "?")
        token = (params.get("_meta") or {}).get("progressToken")
        step = lambda n: self.send(id, {"method": "notifications/progress", "params": {"progressToken": token, "progress": n}})
        if name == "ask":
            return text(json.dumps({"asked": said, "answer": self.ask(id, arguments.get("kind", "elicitation"), said)}))
        if name == "ask_all":
            ids = [self.start(id, *question(kind, said)) for kind in ("elicitation", "sampling", "roots")]
            return text(json.dumps([self.wait(one) for one in ids]))
        if name == "ask_twice":
            return text(json.dumps([self.ask(id, "elicitation", "first"), self.ask(id, "elicitation", "second")]))
        if name == "ask_more":
            ids = [self.start(id, *question("elicitation", str(n))) for n in range(20)]
            return text(json.dumps([self.wait(one) for one in ids]))
        if name == "late":
            self.start(id, *question("elicitation", said))
            return text("answered before it was")
        if name == "steps":
            step(1)
            self.ask(id, "elicitation", said)
            step(2)
            return text("stepped")
        if name in ("task", "shy_task", "endless_task", "any_task"):
            if "task" not in params:
                raise Refused(-32601, "this tool can only be called as a task")
            if name == "endless_task":
                step(1)
            if "first" in arguments:
                self.ask(id, arguments["first"], "before the task")
            if "plain" in arguments:
                return text("at once")
            if "refuse" in arguments:
                raise Refused(-32602, "not like this")
            task = str(uuid.uuid4())
            says = {"createdAt": BORN, "lastUpdatedAt": BORN, "ttl": arguments.get("ttl"), "statusMessage": "at it", "pollInterval": arguments.get("pause", 1)} if name == "any_task" else {}
            self.tasks[task] = {"looks": -1000000 if name == "endless_task" else 0, "wanted": arguments, "says": says}
            return {"task": {"taskId": task, "status": "working", "pollInterval": 1, **says}}
        if name == "first":
            return text(json.dumps(self.first))
        if name == "fake":
            return {"resultType": "input_required", "inputRequests": {"r1": {"method": "roots/list"}}, "requestState": "x", "content": []}
        if name == "page":
            self.visited += 1
            if self.visited % 2 == 1:
                raise Refused(-32042, "visit", {"elicitations": [{"mode": "url", "elicitationId": "e", "url": "https://a.example/", "message": "go"}]})
            return text("visited")
        if name == "count":
            self.count += 1
            return text(json.dumps([self.count, os.getpid(), self.level, sorted(self.subscribed)]))
        if name == "die":
            question_id = self.start(id, *question("elicitation", said))
            until(arguments["when"])
            os._exit(3)
        if name == "hold":
            n = 0
            while json.dumps(id) not in self.cancelled:
                if n % 40 == 0:
                    step(n)
                n += 1
                time.sleep(0.005)
            return text("cancelled")
        if name == "change":
            self.send(None, {"method": "notifications/resources/updated", "params": {"uri": said}})
            return text("changed")
        raise Refused(-32602, "Unknown tool")

class Refused(Exception):
    def __init__(self, code, message, data=None):
        self.error = {"code": code, "message": message, **({"data": data} if data else {})}

def until(path):
    while not os.path.exists(path):
        time.sleep(0.005)

def text(said):
    return {"content": [{"type": "text", "text": said}]}

def question(kind, said):
    return {
        "elicitation": ("elicitation/create", {"_meta": {"x": 1}, "message": said, "requestedSchema": ELICIT}),
        "url": ("elicitation/create", {"mode": "url", "elicitationId": "e", "url": "https://a.example/", "message": said}),
        "sampling": ("sampling/createMessage", {"maxTokens": 1, "messages": [{"role": "user", "content": {"type": "text", "text": said}}]}),
        "roots": ("roots/list", {}),
    }[kind]

def stdio():
    session, out = Session(), threading.Lock()
    def write(message):
        with out:
            sys.stdout.write(json.dumps(message) + "\n")
            sys.stdout.flush()
    session.out[None] = write
    for line in sys.stdin:
        session.take(json.loads(line))

SESSIONS = {}

class Http(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def empty(self, status):
        self.send_response(status)
        self.send_header("content-length", "0")
        self.end_headers()

    def do_GET(self):
        self.empty(405)

    def do_DELETE(self):
        self.empty(200)

    def do_POST(self):
        message = json.loads(self.rfile.read(int(self.headers["content-length"])))
        name = self.headers.get("mcp-session-id")
        if message.get("method") == "initialize":
            name = str(uuid.uuid4())
            SESSIONS[name] = Session()
        elif name not in SESSIONS:
            return self.empty(400)
        session = SESSIONS[name]
        if "method" not in message or "id" not in message:
            session.take(message)
            return self.empty(202)
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("mcp-session-id", name)
        self.send_header("connection", "close")
        self.end_headers()
        done, out = threading.Event(), threading.Lock()
        def write(said):
            with out:
                try:
                    self.wfile.write(f"data: {json.dumps(said)}\n\n".encode())
                    self.wfile.flush()
                except OSError:
                    pass
            if "method" not in said:
                done.set()
        session.out[json.dumps(message["id"])] = write
        session.take(message)
        done.wait()
        session.out.pop(json.dumps(message["id"]), None)
        self.close_connection = True

if "--http" in sys.argv:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Http)
    sys.stderr.write(f"listening on http://127.0.0.1:{server.server_address[1]}/mcp\n")
    sys.stderr.flush()
    server.serve_forever()
else:
    stdio()

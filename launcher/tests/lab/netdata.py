"""Answers as a Netdata whose rs.d charts move: what the launcher asks for, and no more. What it says of itself may be
changed in agent.json beside it."""
import json, os, sys, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Agent(BaseHTTPRequestHandler):
    def do_GET(self):
        chart = {"id": "netdata.a", "context": "netdata.a", "plugin": "rs.d",
                 "first_entry": 1, "last_entry": int(time.time() * 10)}
        info = {"version": "v0.0.1", "cloud-enabled": False}
        changed = os.path.join(os.path.dirname(os.path.abspath(__file__)), "agent.json")
        if os.path.exists(changed):
            with open(changed) as file:
                info.update(json.load(file))
        answers = {
            "/api/v1/charts": {"version": info["version"], "charts": {"netdata.a": chart}},
            "/api/v1/alarms": {"alarms": {}},
            "/api/v1/info": info,
        }
        body = json.dumps(answers.get(self.path.split("?")[0], {})).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


print("netdata INFO: up", file=sys.stderr, flush=True)
ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Agent).serve_forever()

"""Answers as a Netdata whose rs.d charts move: what the launcher asks for, and no more."""
import json, sys, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Agent(BaseHTTPRequestHandler):
    def do_GET(self):
        chart = {"id": "netdata.a", "context": "netdata.a", "plugin": "rs.d",
                 "first_entry": 1, "last_entry": int(time.time() * 10)}
        answers = {
            "/api/v1/charts": {"version": "v0.0.1", "charts": {"netdata.a": chart}},
            "/api/v1/alarms": {"alarms": {}},
            "/api/v1/info": {"version": "v0.0.1", "cloud-enabled": False},
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

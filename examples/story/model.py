"""A model server as others run one: HTTPS, a key, and the usual chat API, streamed or not.

Uses nothing but the standard library; its certificate authority is made with openssl.
"""

import http.server
import json
import secrets
import ssl
import subprocess
import threading
import time


def make_authority(directory, host):
    """A certificate authority of its own, and a certificate of it for the host."""
    ca_key, ca = directory / "model-ca.key", directory / "model-ca.pem"
    key, request, cert = (directory / f"model.{end}" for end in ("key", "csr", "pem"))
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    extensions = directory / "model.ext"
    extensions.write_text(f"subjectAltName=DNS:{host}\nbasicConstraints=CA:FALSE\n")
    for command in (
            ["req", "-x509", *curve, "-days", "2", "-subj", "/CN=models",
             "-addext", "basicConstraints=critical,CA:TRUE", "-keyout", ca_key, "-out", ca],
            ["req", *curve, "-subj", f"/CN={host}", "-keyout", key, "-out", request],
            ["x509", "-req", "-in", request, "-CA", ca, "-CAkey", ca_key, "-CAcreateserial",
             "-days", "2", "-extfile", extensions, "-out", cert]):
        subprocess.run(["openssl", *map(str, command)], check=True, capture_output=True)
    return key, cert, ca


def new_key():
    return f"sk-story-{secrets.token_hex(24)}"


class ModelServer:
    """Answers chat completions to whoever shows its key."""

    def __init__(self, directory, host):
        self.key = new_key()
        self.asked = []
        self.refused = 0
        self.broken_off = 0
        key, cert, self.ca = make_authority(directory, host)
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(cert, key)
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), self.handler())
        self.server.daemon_threads = True
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def handler(self):
        model = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def do_POST(self):
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                if self.headers.get_all("authorization") != [f"Bearer {model.key}"]:
                    model.refused += 1
                    return self.say(401, {"error": {"message": "wrong key"}})
                if self.path != "/v1/chat/completions":
                    return self.say(404, {"error": {"message": "no such path"}})
                asked = json.loads(body)
                model.asked.append(asked)
                text = f"You asked: {asked['messages'][-1]['content']}"
                if asked["model"] == "echo":
                    text = f"Your key is {model.key}, is it not?"
                if asked.get("stream"):
                    return self.stream(text.split(" "), slowly=asked["model"] == "slow")
                return self.say(200, {"object": "chat.completion", "model": asked["model"],
                                      "choices": [{"message": {"role": "assistant",
                                                               "content": text}}]})

            def say(self, status, answer):
                data = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def stream(self, words, slowly):
                self.send_response(200)
                self.send_header("content-type", "text/event-stream")
                self.send_header("transfer-encoding", "chunked")
                self.end_headers()
                try:
                    for word in words * (200 if slowly else 1):
                        self.event({"choices": [{"delta": {"content": word + " "}}]})
                        if slowly:
                            time.sleep(0.1)
                    self.chunk(b"data: [DONE]\n\n")
                    self.chunk(b"")
                except OSError:
                    model.broken_off += 1

            def event(self, delta):
                self.chunk(b"data: " + json.dumps(delta).encode() + b"\n\n")

            def chunk(self, data):
                self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
                self.wfile.flush()

        return Handler

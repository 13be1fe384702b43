"""Hears mail by STARTTLS and by TLS, and webhooks by HTTPS; says what it heard, a line of JSON each."""

import email
import hashlib
import hmac
import http.server
import json
import ssl
import sys
import threading
from email.policy import default

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword

certificate, key, secret = sys.argv[1:4]
starttls_port, tls_port, hook_port = map(int, sys.argv[4:7])
tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
tls.load_cert_chain(certificate, key)
said = threading.Lock()


def say(**told):
    with said:
        print(json.dumps(told), flush=True)


def authenticate(server, session, envelope, mechanism, data):
    good = isinstance(data, LoginPassword) and (data.login, data.password) == (b"ops", secret.encode())
    return AuthResult(success=good)


class Hears:
    def __init__(self, way):
        self.way = way

    async def handle_DATA(self, server, session, envelope):
        message = email.message_from_bytes(envelope.content, policy=default)
        missing = [name for name in ("From", "To", "Date", "Message-ID", "Subject") if not message[name]]
        say(way=self.way, text=message.get_content(), subject=message["Subject"], missing=missing, to=envelope.rcpt_tos)
        return "250 heard"


def controller(way, port, **options):
    return Controller(Hears(way), hostname="localhost", port=port, authenticator=authenticate, auth_required=True, **options)


controller("starttls", starttls_port, tls_context=tls, require_starttls=True).start()
controller("tls", tls_port, ssl_context=tls, auth_require_tls=False).start()


class Hook(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        fields = dict(part.split("=", 1) for part in self.headers["x-lifeboat-signature"].split(","))
        signed = hmac.new(secret.encode(), fields["t"].encode() + b"." + body, hashlib.sha256).hexdigest()
        good = hmac.compare_digest(signed, fields["v1"])
        self.send_response(204 if good else 403)
        self.end_headers()
        if good:
            say(way="webhook", **json.loads(body))

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", hook_port), Hook)
server.socket = tls.wrap_socket(server.socket, server_side=True)
say(ready=True)
server.serve_forever()

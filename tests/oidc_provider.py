"""A small OpenID Connect provider on loopback: discovery, keys, authorization code with PKCE, signed id_token."""

import base64
import hashlib
import json
import secrets
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlencode, urlsplit

from joserfc import jwt
from joserfc.jwk import RSAKey


class Provider:
    """It signs everybody in as `claims` say, without a question."""

    CLIENT = ("dock-cloud", "client secret")
    REDIRECTS = ("/sign-in/provider/callback/",)

    def __init__(self):
        self.key = RSAKey.generate_key(2048, {"kid": "1", "use": "sig", "alg": "RS256"})
        self.signs_with = self.key
        self.claims = {"sub": "248289", "email": "alice@example.org", "email_verified": True}
        self.overrides = {}  # of what the id_token says
        self.asked = []  # the parameters of each authorization
        self.codes = {}
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), self.handler())
        self.issuer = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()

    def metadata(self):
        return {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "jwks_uri": f"{self.issuer}/keys",
            "id_token_signing_alg_values_supported": ["RS256"],
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
        }

    def authorize(self, query):
        """Where the browser goes next."""
        self.asked.append(query)
        assert urlsplit(query["redirect_uri"]).path in self.REDIRECTS
        assert query["response_type"] == "code"
        assert query["code_challenge_method"] == "S256"
        code = secrets.token_urlsafe(16)
        self.codes[code] = query
        return query["redirect_uri"] + "?" + urlencode({"code": code, "state": query["state"]})

    def token(self, form, authorization):
        """The tokens for a code, once; None for whoever may not have them."""
        wanted = self.codes.pop(form.get("code"), None)
        shown = base64.b64decode(authorization.partition(" ")[2]).decode() if authorization else ""
        digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).decode().rstrip("=")
        if not wanted or challenge != wanted["code_challenge"] or form["redirect_uri"] != wanted["redirect_uri"]:
            return None
        if shown.split(":") != [self.CLIENT[0], self.CLIENT[1].replace(" ", "+")] and shown != ":".join(self.CLIENT):
            return None
        now = int(time.time())
        claims = {"iss": self.issuer, "aud": self.CLIENT[0], "iat": now, "exp": now + 60, "nonce": wanted["nonce"]}
        claims |= self.claims | self.overrides
        id_token = jwt.encode({"alg": "RS256", "kid": "1"}, claims, self.signs_with)
        return {"access_token": "unused", "token_type": "Bearer", "expires_in": 60, "id_token": id_token}

    def handler(self):
        provider = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self, content, status=200, **headers):
                body = json.dumps(content).encode()
                self.send_response(status)
                for name, value in {"Content-Type": "application/json", **headers}.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_GET(self):
                path, _, query = self.path.partition("?")
                if path == "/authorize":
                    sent = {name: values[0] for name, values in parse_qs(query).items()}
                    self.answer({}, 302, Location=provider.authorize(sent))
                elif path == "/keys":
                    self.answer({"keys": [provider.key.as_dict(private=False)]})
                else:
                    self.answer(provider.metadata())

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                form = {name: values[0] for name, values in parse_qs(body).items()}
                tokens = provider.token(form, self.headers.get("Authorization"))
                self.answer(tokens or {"error": "invalid_grant"}, 200 if tokens else 400)

            def log_message(self, *_):
                pass

        return Handler

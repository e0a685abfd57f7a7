"""An agent that runs elsewhere, on the public library `requests-oauth2client` and nothing of AIMS.

Where its plan says `svid`, it is a service: it authenticates with what PyPI's `spiffe` gets from the
Workload API. Does what it is told on standard input, one JSON object a line, and answers in the same way.
"""

import base64
import hashlib
import json
import os
import sys
import tempfile
from urllib.parse import urlencode

import requests
from jwskate import Jwk, Jwt
from requests_oauth2client import DPoPKey, OAuth2Client, PrivateKeyJwt, PublicApp
from requests_oauth2client.exceptions import OAuth2Error

PROTOCOL = "2025-06-18"
JWT_SVID = "urn:ietf:params:oauth:client-assertion-type:jwt-spiffe"


class SpiffeJwt(PublicApp):
    """Client authentication `spiffe_jwt`: a new JWT-SVID for each request."""

    def __init__(self, client_id, audience):
        super().__init__(client_id)
        object.__setattr__(self, "audience", audience)

    def __call__(self, request):
        request = super().__call__(request)
        more = {"client_assertion_type": JWT_SVID, "client_assertion": jwt_svid(self.audience)}
        request.prepare_body(f"{request.body}&{urlencode(more)}", files=None)
        request.headers["Content-Type"] = "application/x-www-form-urlencoded"
        return request


def jwt_svid(audience):
    from spiffe import WorkloadApiClient
    with WorkloadApiClient() as client:
        return client.fetch_jwt_svid(audience={audience}).token


def x509_svid():
    """Files with the X.509-SVID and its key, as `requests` wants them."""
    from cryptography.hazmat.primitives import serialization
    from spiffe import WorkloadApiClient
    pem = serialization.Encoding.PEM
    with WorkloadApiClient() as client:
        svid = client.fetch_x509_svid()
    directory = tempfile.mkdtemp()
    paths = os.path.join(directory, "svid.pem"), os.path.join(directory, "svid.key")
    with open(paths[0], "wb") as file:
        file.writelines(one.public_bytes(pem) for one in svid.cert_chain)
    with open(os.open(paths[1], os.O_CREAT | os.O_WRONLY, 0o600), "wb") as file:
        file.write(svid.private_key.private_bytes(
            pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    return paths


class Agent:
    def __init__(self, plan):
        self.plan = plan
        self.key = None
        if "key" in plan:
            with open(plan["key"], encoding="utf-8") as file:
                self.key = Jwk(json.load(file))
        self.session = requests.Session()
        # Neither a proxy nor another authority from the environment.
        self.session.trust_env = False
        self.session.verify = plan["ca"]
        self.client = self.client_with(self.auth())
        self.token = None
        self.dpop_key = DPoPKey.generate()
        self.mcp = None
        self.number = 0

    def client_with(self, auth):
        issuer = self.plan["issuer"]
        return OAuth2Client.from_discovery_endpoint(
            f"{issuer}/.well-known/oauth-authorization-server", issuer, auth=auth,
            session=self.session)

    def auth(self, **other):
        if self.plan.get("svid") == "jwt":
            return SpiffeJwt(self.plan["client_id"], self.plan["issuer"])
        if self.plan.get("svid") == "x509":
            self.session.cert = x509_svid()
            return PublicApp(self.plan["client_id"])
        about = {"aud": self.plan["issuer"]} | other
        return PrivateKeyJwt(self.plan["client_id"], self.key, **about)

    def get_token(self, dpop_key=None, **other):
        asked = {"resource": self.plan["resource"], "aims_task": self.plan["task"]} | other
        self.token = self.client.client_credentials(
            dpop=True, dpop_key=dpop_key or self.dpop_key, **asked)
        claims = json.loads(json.dumps(Jwt(str(self.token.access_token)).claims))
        return {"token_type": self.token.token_type, "claims": claims}

    def narrowed(self, part):
        """Exchanges the token for one that carries less (RFC 8693)."""
        self.token = self.client.token_exchange(
            subject_token=str(self.token.access_token),
            subject_token_type="access_token", resource=self.plan["resource"],
            authorization_details=json.dumps(part), dpop=True, dpop_key=self.dpop_key)
        return {"token_type": self.token.token_type}

    def new_key(self):
        self.dpop_key = DPoPKey.generate()
        return {}

    def post(self, body, auth=None, url=None):
        headers = {"Accept": "application/json, text/event-stream"}
        if self.mcp:
            headers |= {"Mcp-Session-Id": self.mcp, "MCP-Protocol-Version": PROTOCOL}
        return self.session.post(url or self.plan["mcp"], json=body, headers=headers,
                                 auth=auth or self.token, timeout=60)

    def open(self):
        """Starts an MCP session."""
        self.mcp = None
        answer = self.rpc("initialize", {
            "protocolVersion": PROTOCOL, "capabilities": {},
            "clientInfo": {"name": "elsewhere", "version": "1"}})
        self.post({"jsonrpc": "2.0", "method": "notifications/initialized"})
        return answer

    def rpc(self, method, params):
        self.number += 1
        answer = self.post({"jsonrpc": "2.0", "id": self.number, "method": method,
                            "params": params})
        if "mcp-session-id" in answer.headers:
            self.mcp = answer.headers["mcp-session-id"]
        return described(answer)

    def call(self, name, arguments):
        return self.rpc("tools/call", {"name": name, "arguments": arguments})

    def introspect(self):
        told = self.client.introspect_token(self.token)
        return json.loads(json.dumps(told, default=str))

    def revoke(self):
        return {"revoked": self.client.revoke_access_token(self.token)}

    def as_it_was(self, audience):
        """Asks twice with one JWT-SVID for `audience`, the second time with another key."""
        svid = jwt_svid(audience)
        form = {"grant_type": "client_credentials", "aims_task": self.plan["task"],
                "resource": self.plan["resource"], "client_id": self.plan["client_id"],
                "client_assertion_type": JWT_SVID, "client_assertion": svid}
        return [self.asked(form, key) for key in (self.dpop_key, DPoPKey.generate())]

    def with_a_header(self):
        """The certificate in headers, as a proxy would write it, and none on the connection."""
        with open(x509_svid()[0], encoding="utf-8") as file:
            der = "".join(file.read().split("-----")[2].split())
        self.session.cert = None
        headers = {"Client-Cert": f":{der}:", "X-Forwarded-Client-Cert": der,
                   "X-SSL-Client-Verify": "SUCCESS", "X-SSL-Client-Cert": der}
        form = {"grant_type": "client_credentials", "aims_task": self.plan["task"],
                "resource": self.plan["resource"], "client_id": self.plan["client_id"]}
        return self.asked(form, self.dpop_key, headers)

    def asked(self, form, key, headers=None):
        """One request to the token endpoint with a nonce, and what it is told."""
        url = f"{self.plan['issuer']}/token"
        first = self.session.post(url, data=form, timeout=60, headers={
            "DPoP": str(key.proof(htm="POST", htu=url))})
        proof = str(key.proof(htm="POST", htu=url, nonce=first.headers["DPoP-Nonce"]))
        return described(self.session.post(url, data=form, timeout=60,
                                           headers={"DPoP": proof, **(headers or {})}))

    # --- what a thief or a bungler would try ---

    def as_bearer(self):
        """The stolen token without the key."""
        token = str(self.token.access_token)
        headers = {"Authorization": f"Bearer {token}"}
        return described(self.session.post(self.plan["mcp"], json={}, headers=headers, timeout=60))

    def with_another_key(self):
        """The stolen token with a key of the thief's."""
        thief = DPoPKey.generate()
        token = str(self.token.access_token)
        nonce = self.session.get(self.plan["mcp"], timeout=60).headers["DPoP-Nonce"]
        return described(self.raw(token, thief, nonce))

    def replayed(self):
        """A proof that was seen on the way, sent again."""
        token = str(self.token.access_token)
        nonce = self.session.get(self.plan["mcp"], timeout=60).headers["DPoP-Nonce"]
        proof = self.proof(self.dpop_key, token, nonce)
        first = self.with_proof(token, proof)
        return {"first": described(first), "again": described(self.with_proof(token, proof))}

    def for_another_url(self):
        token = str(self.token.access_token)
        nonce = self.session.get(self.plan["mcp"], timeout=60).headers["DPoP-Nonce"]
        proof = self.proof(self.dpop_key, token, nonce, url=self.plan["mcp"] + "x")
        return described(self.with_proof(token, proof))

    def without_nonce(self):
        token = str(self.token.access_token)
        # The same key, without what the gateway told before.
        fresh = DPoPKey(private_key=self.dpop_key.private_key)
        return described(self.raw(token, fresh, None))

    def raw(self, token, key, nonce):
        return self.with_proof(token, self.proof(key, token, nonce))

    def proof(self, key, token, nonce, url=None):
        url = url or self.plan["mcp"]
        return str(key.proof(htm="POST", htu=url, ath=hash_of(token), nonce=nonce))

    def with_proof(self, token, proof):
        headers = {"Authorization": f"DPoP {token}", "DPoP": proof,
                   "Accept": "application/json, text/event-stream"}
        body = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
        return self.session.post(self.plan["mcp"], json=body, headers=headers, timeout=60)

    def assertion_for_the_token_endpoint(self):
        """An assertion whose audience is the endpoint instead of the issuer."""
        return self.get_token_with(self.auth(aud=f"{self.plan['issuer']}/token"))

    def with_a_foreign_key(self):
        """An assertion by a key that nobody enrolled."""
        foreign = Jwk.generate(alg="ES256").with_kid_thumbprint()
        about = {"aud": self.plan["issuer"]}
        return self.get_token_with(PrivateKeyJwt(self.plan["client_id"], foreign, **about))

    def get_token_with(self, auth):
        usual, self.client = self.client, self.client_with(auth)
        try:
            return self.get_token()
        finally:
            self.client = usual


def hash_of(token):
    digest = hashlib.sha256(token.encode()).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def described(answer):
    try:
        body = answer.json()
    except ValueError:
        body = answer.text
        for line in body.splitlines():
            if line.startswith("data: "):
                body = json.loads(line[6:])
    return {"status": answer.status_code, "body": body,
            "challenge": answer.headers.get("WWW-Authenticate", "")}


def main():
    if sys.argv[1] == "keygen":
        key = Jwk.generate(alg="ES256").with_kid_thumbprint()
        with open(sys.argv[2], "w", encoding="utf-8") as file:
            json.dump(dict(key), file)
        public = {name: key[name] for name in ("kty", "crv", "x", "y")}
        print(json.dumps(public))
        return
    agent = Agent(json.loads(sys.argv[1]))
    for line in sys.stdin:
        told = json.loads(line)
        try:
            done = getattr(agent, told.pop("do"))(**told)
        except OAuth2Error as error:
            response = error.response
            done = {"refused": json.loads(response.text or "{}"), "status": response.status_code}
        except requests.RequestException as error:
            done = {"broken": str(error)}
        print(json.dumps(done), flush=True)


if __name__ == "__main__":
    main()

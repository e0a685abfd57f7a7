// An agent that runs elsewhere, on the public library `oauth4webapi` and nothing of AIMS.
// Finds everything by discovery: from the tool server's URL to its authorization server.

import { readFileSync } from "node:fs";

import * as oauth from "oauth4webapi";

const plan = JSON.parse(process.argv[2]);
const jwk = JSON.parse(readFileSync(plan.key, "utf8"));
const ES256 = { name: "ECDSA", namedCurve: "P-256" };
const key = await crypto.subtle.importKey("jwk", { ...jwk, alg: undefined, key_ops: undefined },
  ES256, false, ["sign"]);
const client = { client_id: plan.client_id };
const auth = oauth.PrivateKeyJwt({ key, kid: jwk.kid });
const dpop = oauth.DPoP(client, await oauth.generateKeyPair("ES256"));
const said = {};

// RFC 9728: the resource names its authorization servers.
const resource = new URL(plan.mcp);
const bare = await fetch(resource, { method: "POST", body: "{}" });
said.challenge = bare.headers.get("www-authenticate");
const metadata = await oauth.processResourceDiscoveryResponse(resource,
  await oauth.resourceDiscoveryRequest(resource));
said.bound = metadata.dpop_bound_access_tokens_required;

// RFC 8414: the authorization server says what it does.
const issuer = new URL(metadata.authorization_servers[0]);
const as = await oauth.processDiscoveryResponse(issuer,
  await oauth.discoveryRequest(issuer, { algorithm: "oauth2" }));

async function withNonce(request) {
  try {
    return await request();
  } catch (error) {
    if (!oauth.isDPoPNonceError(error)) throw error;
    said.nonces = (said.nonces ?? 0) + 1;
    return await request();
  }
}

const parameters = { resource: metadata.resource, aims_task: plan.task };
const token = await withNonce(async () => oauth.processClientCredentialsResponse(as, client,
  await oauth.clientCredentialsGrantRequest(as, client, auth, parameters, { DPoP: dpop })));
said.token_type = token.token_type;

let session;
let sent;
const options = { DPoP: dpop, [oauth.customFetch]: (url, init) => {
  sent = new Request(url, { method: init.method, headers: init.headers });
  return fetch(url, init);
} };
async function rpc(method, params, id) {
  const headers = new Headers({ accept: "application/json, text/event-stream",
    "content-type": "application/json" });
  if (session) {
    headers.set("mcp-session-id", session);
    headers.set("mcp-protocol-version", "2025-06-18");
  }
  const body = JSON.stringify({ jsonrpc: "2.0", id, method, params });
  const answer = await withNonce(() => oauth.protectedResourceRequest(token.access_token, "POST",
    resource, headers, body, options));
  session ??= answer.headers.get("mcp-session-id");
  const text = await answer.text();
  const data = text.split("\n").find((line) => line.startsWith("data: "));
  return text ? JSON.parse(data ? data.slice(6) : text) : {};
}

said.hello = await rpc("initialize", { protocolVersion: "2025-06-18", capabilities: {},
  clientInfo: { name: "elsewhere", version: "1" } }, 1);
await rpc("notifications/initialized", {}, undefined);
said.called = await rpc("tools/call", { name: plan.tool, arguments: plan.arguments }, 2);

said.introspected = await oauth.processIntrospectionResponse(as, client,
  await oauth.introspectionRequest(as, client, auth, token.access_token));
// RFC 9068: the token is what other resource servers could verify by the keys of the server.
said.validated = await oauth.validateJwtAccessToken(as, sent, plan.resource,
  { requireDPoP: true });
await oauth.processRevocationResponse(
  await oauth.revocationRequest(as, client, auth, token.access_token));
said.after = await oauth.processIntrospectionResponse(as, client,
  await oauth.introspectionRequest(as, client, auth, token.access_token));
console.log(JSON.stringify(said));

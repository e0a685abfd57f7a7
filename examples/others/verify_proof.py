"""Verifies proofs of AIMS: a second implementation, made from docs/proof-format.md alone.

Shares nothing with AIMS but that page and docs/log-format.md. Uses PyPI's `cryptography` for
signatures and `cedarpy` for policies; of a proof it needs the file and the log's public key.

    verify_proof.py FILE … --log-key KEY [--checkpoint FILE] [--witness KEY] …

One line for each file. Exits with 0 if everything holds, 4 if it holds but can't be decided again,
1 if something does not hold, 2 if a key or file can't be read; of several files the worst.
"""

import argparse
import base64
import hashlib
import json
import pathlib
import re
import sys
from datetime import datetime
from decimal import Decimal
from fractions import Fraction

import cedarpy
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

FILE_BYTES_MAX = 16 << 20
RECORD_BYTES_MAX = 65_535
RECORDS_MAX = 128
NESTED_MAX = 64
INTEGER_MAX = 2**53 - 1
SKEW_MILLIS = 60_000
# From a consent or request to the grant that rests on it, clocks included.
REQUEST_MILLIS_MAX = 6 * 60_000
GRANT_MILLIS_MAX = 24 * 3_600_000
IDENTITY_MILLIS_MAX = 60 * 60_000


class Refused(Exception):
    """Something does not hold."""


class Unreadable(Exception):
    """A key or a file that the auditor gave is none."""


def hold(condition, what):
    if not condition:
        raise Refused(what)


# --- encodings ---------------------------------------------------------------------------------


def members(value, names, what):
    """The members of an object that has exactly these."""
    hold(type(value) is dict and set(value) == set(names.split()), f"{what}: members")
    return [value[name] for name in names.split()]


def typed(value, kind, what):
    hold(type(value) is kind, f"{what}: a {kind.__name__}")
    return value


def parse_json(text, what, fractions=False):
    """JSON without doubtful readings: no member twice, and no fractions but in arguments."""
    def unique(pairs):
        hold(len({name for name, _ in pairs}) == len(pairs), f"{what}: a member twice")
        return dict(pairs)

    def no(word):
        raise Refused(f"{what}: `{word[:20]}` is no number here")
    try:
        return json.loads(text, object_pairs_hook=unique, parse_constant=no,
                          parse_float=Decimal if fractions else no)
    except (ValueError, RecursionError) as error:
        raise Refused(f"{what}: not JSON: {str(error)[:80]}") from None


def canonical(value, what="value", depth=0):
    """RFC 8785, restricted to integers."""
    kind = type(value)
    if value is None or kind is bool:
        return {None: "null", True: "true", False: "false"}[value]
    if kind is int:
        hold(abs(value) <= INTEGER_MAX, f"{what}: an integer out of range")
        return str(value)
    if kind is str:
        return json.dumps(value, ensure_ascii=False)
    hold(depth < NESTED_MAX, f"{what}: nested too deep")
    if kind is list:
        return "[" + ",".join(canonical(item, what, depth + 1) for item in value) + "]"
    names = sorted(value, key=lambda name: name.encode("utf-16-be", "surrogatepass"))
    return "{" + ",".join(json.dumps(name, ensure_ascii=False) + ":"
                          + canonical(value[name], what, depth + 1) for name in names) + "}"


def encoded(value, what="value"):
    try:
        return canonical(value, what).encode()
    except UnicodeEncodeError:
        raise Refused(f"{what}: a lone surrogate") from None


def parse_canonical(data, what):
    try:
        value = parse_json(data.decode(), what)
    except UnicodeDecodeError:
        raise Refused(f"{what}: not UTF-8") from None
    hold(encoded(value, what) == data, f"{what}: not in canonical form")
    return value


def sha(data):
    return hashlib.sha256(data).digest()


def digest(data):
    return "sha256:" + sha(data).hex()


def undigest(text, what):
    hold(type(text) is str and re.fullmatch("sha256:[0-9a-f]{64}", text), f"{what}: a digest")
    return bytes.fromhex(text[7:])


def is_id(text, prefix):
    """26 characters of Crockford base 32: 128 bits, so that the first has three."""
    return type(text) is str and \
        re.fullmatch(f"{prefix}_[0-7][0-9abcdefghjkmnpqrstvwxyz]{{25}}", text) is not None


def unbase64(text, what):
    try:
        data = base64.b64decode(text, validate=True)
    except ValueError:
        raise Refused(f"{what}: base64") from None
    hold(base64.b64encode(data).decode() == text, f"{what}: base64 in another form")
    return data


def unbase64url(text, what):
    hold(type(text) is str and re.fullmatch("[A-Za-z0-9_-]*", text), f"{what}: base64url")
    try:
        data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except ValueError:
        raise Refused(f"{what}: base64url") from None
    hold(base64url(data) == text, f"{what}: base64url in another form")
    return data


def base64url(data):
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


# --- signed notes and checkpoints ----------------------------------------------------------------


class NoteKey:
    """`name+id+base64` of an Ed25519 key: of a log (0x01) or of a witness (0x04)."""

    def __init__(self, text):
        try:
            self.name, self.id, key = text.strip().split("+", 2)
            data = base64.b64decode(key, validate=True)
        except ValueError:
            raise Unreadable(f"`{text[:80]}` is no key of a log or witness") from None
        self.kind, self.bytes = data[:1], data[1:]
        if self.kind not in (b"\1", b"\4") or len(self.bytes) != 32 or \
                sha(self.name.encode() + b"\n" + data)[:4].hex() != self.id:
            raise Unreadable(f"`{text[:80]}` is no key of a log or witness")
        self.key = ed25519.Ed25519PublicKey.from_public_bytes(self.bytes)

    def verifies(self, text, signature):
        if self.kind == b"\4":
            # c2sp.org/tlog-cosignature: eight bytes of time in seconds before the signature.
            time, signature = signature[:8], signature[8:]
            text = f"cosignature/v1\ntime {int.from_bytes(time, 'big')}\n{text}"
        return ed25519_holds(self.key, signature, text.encode())


def ed25519_holds(key, signature, data):
    try:
        key.verify(signature, data)
    except InvalidSignature:
        return False
    return True


class Checkpoint:
    """A signed note of which every line is verified by exactly one of the keys.

    One that the auditor kept may have lines that do not concern the log.
    """

    def __init__(self, note, keys, what, exactly=True):
        text, between, lines = typed(note, str, what).rpartition("\n\n")
        hold(between and lines.endswith("\n"), f"{what}: a signed note")
        text += "\n"
        body = text.split("\n")
        hold(len(body) == 4, f"{what}: three lines")
        self.origin, size, root, _ = body
        hold(re.fullmatch("0|[1-9][0-9]{0,15}", size) and int(size) <= INTEGER_MAX,
             f"{what}: the size")
        self.size, self.root = int(size), unbase64(root, f"{what}: the root")
        hold(len(self.root) == 32, f"{what}: the root")
        signed = [self.signer(line, text, keys, what) for line in lines[:-1].split("\n")]
        if exactly:
            hold(None not in signed, f"{what}: a signature by a key that was not given")
            hold(len(set(signed)) == len(signed), f"{what}: two signatures by one key")
        for key in keys:
            hold(key in signed, f"{what}: no signature by {key.name}")
        hold(keys[0].name == self.origin, f"{what}: the origin is not the log's")

    @staticmethod
    def signer(line, text, keys, what):
        parts = line.split(" ")
        hold(len(parts) == 3 and parts[0] == "—", f"{what}: a signature line")
        data = unbase64(parts[2], f"{what}: a signature")
        for key in keys:
            if (key.name, key.id) == (parts[1], data[:4].hex()):
                hold(key.verifies(text, data[4:]), f"{what}: the signature by {key.name}")
                return key
        return None


# --- the tree ------------------------------------------------------------------------------------


def node(left, right):
    return sha(b"\1" + left + right)


def digests(path, what):
    hold(type(path) is list and len(path) <= 64, f"{what}: a path")
    return [undigest(one, what) for one in path]


def included(entry, index, path, head, what):
    """RFC 9162 §2.1.3.2."""
    hold(0 <= index < head.size, f"{what}: not in the tree")
    at, last, root = index, head.size - 1, sha(b"\0" + entry)
    for one in path:
        hold(last, f"{what}: the inclusion proof is too long")
        if at & 1 or at == last:
            root = node(one, root)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            root = node(root, one)
        at, last = at >> 1, last >> 1
    hold(last == 0 and root == head.root, f"{what}: the inclusion proof")


def continues(old, head, path, what):
    """RFC 9162 §2.1.4.2."""
    hold(old.size <= head.size, f"{what}: the earlier checkpoint is larger")
    if old.size == head.size:
        hold(not path and old.root == head.root, f"{what}: two trees of one size")
        return
    if old.size == 0:
        hold(not path and old.root == sha(b""), f"{what}: the empty tree")
        return
    path = list(path) if old.size & (old.size - 1) else [old.root, *path]
    hold(path, f"{what}: the consistency proof")
    at, last = old.size - 1, head.size - 1
    while at & 1:
        at, last = at >> 1, last >> 1
    before = after = path[0]
    for one in path[1:]:
        hold(last, f"{what}: the consistency proof is too long")
        if at & 1 or at == last:
            before, after = node(one, before), node(one, after)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            after = node(after, one)
        at, last = at >> 1, last >> 1
    hold(last == 0 and (before, after) == (old.root, head.root), f"{what}: the consistency proof")


# --- keys and signed tokens ----------------------------------------------------------------------


class Key:
    """A public key of P-256 or Ed25519, given as a JWK."""

    def __init__(self, jwk, what):
        hold(type(jwk) is dict, f"{what}: a key")
        names = {"EC": "crv kty x y", "OKP": "crv kty x"}.get(jwk.get("kty"))
        hold(names, f"{what}: a key")
        public = {name: jwk.get(name) for name in names.split()}
        hold(all(type(value) is str for value in public.values()), f"{what}: a key")
        self.thumbprint = base64url(sha(encoded(public)))
        numbers = [unbase64url(public[name], what) for name in names.split()[2:]]
        hold(all(len(number) == 32 for number in numbers), f"{what}: a key")
        hold(public["crv"] == {"EC": "P-256", "OKP": "Ed25519"}[public["kty"]], f"{what}: a key")
        self.ed25519 = public["kty"] == "OKP"
        self.bytes = numbers[0]
        try:
            self.key = (ed25519.Ed25519PublicKey.from_public_bytes(numbers[0]) if self.ed25519 else
                        ec.EllipticCurvePublicKey.from_encoded_point(
                            ec.SECP256R1(), b"\4" + numbers[0] + numbers[1]))
        except ValueError:
            raise Refused(f"{what}: a key") from None

    def verifies(self, alg, signature, data):
        if len(signature) != 64:
            return False
        if self.ed25519:
            return alg in ("EdDSA", "Ed25519") and ed25519_holds(self.key, signature, data)
        r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
        try:
            self.key.verify(encode_dss_signature(r, s), data, ec.ECDSA(hashes.SHA256()))
        except InvalidSignature:
            return False
        return alg == "ES256"


class Jws:
    """A compact JWS (RFC 7515), not verified yet."""

    def __init__(self, text, typ, what):
        self.text, self.what = typed(text, str, what), what
        parts = text.split(".")
        hold(len(parts) == 3, f"{what}: a compact JWS")
        header, payload, self.signature = [unbase64url(part, what) for part in parts]
        self.signed = f"{parts[0]}.{parts[1]}".encode()
        try:
            self.header = typed(parse_json(header.decode(), what), dict, what)
            payload = payload.decode()
            # The identity token is a standard's; what is ours is in canonical form.
            self.payload = typed(parse_json(payload, what) if typ == "wit+jwt"
                                 else parse_canonical(payload.encode(), what), dict, what)
        except UnicodeDecodeError:
            raise Refused(f"{what}: UTF-8") from None
        hold(self.header.get("typ") == typ, f"{what}: not of the type {typ}")
        self.kid = self.header.get("kid")

    def by(self, key):
        hold(key.verifies(self.header.get("alg"), self.signature, self.signed),
             f"{self.what}: the signature")
        return self.payload


# --- records -------------------------------------------------------------------------------------


class Record:
    """One record of the file at its place in the log."""

    def __init__(self, value, head, number):
        what = f"record {number}"
        self.index, path, self.value = members(value, "index path record", what)
        hold(type(self.index) is int, f"{what}: its index")
        entry = encoded(typed(self.value, dict, what))
        hold(len(entry) <= RECORD_BYTES_MAX, f"{what}: too long")
        included(entry, self.index, digests(path, what), head, what)
        names = {"v", "source", "seq", "prev", "at", "kind", "body"}
        hold(names <= set(self.value) <= names | {"request", "task"}, f"{what}: members")
        hold(same(self.value["v"], 1), f"{what}: the version")
        for name, kind in (("source", str), ("seq", int), ("at", int), ("kind", str),
                           ("body", dict)):
            typed(self.value[name], kind, f"{what}: {name}")
        undigest(self.value["prev"], f"{what}: prev")
        self.kind, self.source = self.value["kind"], self.value["source"]
        self.at, self.task = self.value["at"], self.value.get("task")
        hold(self.value["seq"] >= 0 and self.at >= 0, f"{what}: a number below zero")
        hold(self.source == "server" or is_id(self.source, "gtw"), f"{what}: source")
        for name, prefix in (("request", "req"), ("task", "tsk")):
            hold(name not in self.value or is_id(self.value[name], prefix), f"{what}: {name}")
        self.what = f"{self.kind} ({self.index})"

    def get(self, *path):
        """A member of the body, or of an object in it; None if it is not there."""
        value = self.value["body"]
        for name in path:
            value = value.get(name) if type(value) is dict else None
        return value

    def text(self, *path):
        return typed(self.get(*path), str, f"{self.what}: {'.'.join(path)}")

    def number(self, *path):
        return typed(self.get(*path), int, f"{self.what}: {'.'.join(path)}")

    def list(self, *path):
        return typed(self.get(*path), list, f"{self.what}: {'.'.join(path)}")

    def same(self, other, *path, **renamed):
        """Members that have to be equal: of this record, and of an object."""
        for name in path:
            hold(self.get(name) == other.get(name), f"{self.what}: {name}")


class Records:
    """The records of a file, each of which somebody has to ask for."""

    def __init__(self, values, head):
        hold(type(values) is list and len(values) <= RECORDS_MAX, "records: at most 128")
        self.all = [Record(value, head, number) for number, value in enumerate(values)]
        indexes = [record.index for record in self.all]
        hold(indexes == sorted(set(indexes)), "records: their order")
        self.used = set()

    def find(self, kind, **wanted):
        for record in self.all:
            if record.kind == kind and all(record.get(*name.split("__")) == value
                                           for name, value in wanted.items()):
                self.used.add(record.index)
                return record
        return None

    def first(self, kind, **wanted):
        found = self.find(kind, **wanted)
        hold(found, f"records: no {kind} with {wanted}")
        return found


# --- authority -----------------------------------------------------------------------------------


def is_path(text):
    """A normalised absolute path."""
    parts = text[1:].split("/")
    return text == "/" or (text.startswith("/") and all(part not in ("", ".", "..")
                                                        for part in parts) and "\0" not in text)


def below(path, prefix):
    return path == prefix or path.startswith(prefix.rstrip("/") + "/")


def same(one, other):
    """Equal as JSON: true is not 1."""
    return type(one) is type(other) and one == other


def among(value, choices):
    return any(same(value, choice) for choice in choices)


def satisfies(value, name, bound):
    """Whether a value of an argument holds to one constraint."""
    if name == "equals":
        return same(value, bound)
    if name == "one_of":
        return among(value, bound)
    if name == "path_prefix":
        return type(value) is str and is_path(value) and below(value, bound)
    if name == "glob":
        pattern = "[^/]*".join(re.escape(part) for part in bound.split("*"))
        return type(value) is str and re.fullmatch(pattern, value, re.DOTALL) is not None
    if name == "range":
        number = type(value) in (int, Decimal) and Fraction(value)
        return number is not False and ("min" not in bound or Fraction(bound["min"]) <= number) \
            and ("max" not in bound or number <= Fraction(bound["max"]))
    if name == "subset_of":
        return type(value) is list and all(among(item, bound) for item in value)
    if name == "max_length":
        return type(value) in (str, list) and len(value) <= bound
    raise Refused(f"authority: the constraint `{name}`")


def allows(detail, resource, arguments):
    """Whether one detail of an authority allows a call or a connection."""
    if "host" in resource:
        return detail["type"] == "https_connect" and detail["host"] == resource["host"] and \
            detail["port"] == resource["port"]
    if detail["type"] != "mcp_tool" or detail["server"] != resource["server"] or \
            resource["tool"] not in detail["actions"]:
        return False
    named = detail["arguments"]
    if not set(arguments) <= set(named):
        return False
    for argument, bounds in named.items():
        if bounds == "any":
            continue
        bounds = dict(bounds)
        optional = bounds.pop("optional", False)
        if argument not in arguments:
            if not optional:
                return False
        elif not all(satisfies(arguments[argument], *bound) for bound in bounds.items()):
            return False
    return True


def implied(name, bound, child):
    """Whether what one argument's constraints allow holds to one constraint of the hop above."""
    values = [child["equals"]] if "equals" in child else child.get("one_of")
    if values is not None and all(satisfies(value, name, bound) for value in values):
        return True
    theirs = child.get(name)
    if theirs is None:
        return False
    if name == "path_prefix":
        return below(theirs, bound)
    if name == "range":
        return all(side in theirs and sign * Fraction(theirs[side]) <= sign * Fraction(bound[side])
                   for side, sign in (("min", -1), ("max", 1)) if side in bound)
    if name == "subset_of":
        return all(among(item, bound) for item in theirs)
    if name == "max_length":
        return theirs <= bound
    return theirs == bound


def plain(value, name=None):
    """An authority with its sets in one order."""
    if type(value) is dict:
        return {name: plain(item, name) for name, item in value.items()}
    if type(value) is list and name != "authorization_details":
        return sorted((plain(item) for item in value), key=encoded)
    return [plain(item) for item in value] if type(value) is list else value


def is_number(value, most=INTEGER_MAX, least=0):
    return type(value) is int and least <= value <= most


def check_limits(limits, what):
    """The form of an authority's limits."""
    limits = typed(limits, dict, what)
    hold(set(limits) <= {"not_after", "uses", "rate", "sums", "depth"}, f"{what}: limits")
    hold(is_number(limits.get("uses", 1)) and is_number(limits.get("depth", 0)), f"{what}: limits")
    millis(limits.get("not_after"))


def narrower_arguments(child, parent):
    for argument in set(child) | set(parent):
        theirs, ours = child.get(argument), parent.get(argument)
        if ours == "any" or (theirs is None and ours is not None and ours.get("optional")):
            continue
        if theirs is None or ours is None or theirs == "any":
            return False
        if theirs.get("optional", False) and not ours.get("optional", False):
            return False
        if not all(implied(name, bound, theirs)
                   for name, bound in ours.items() if name != "optional"):
            return False
    return True


def narrower_detail(child, parent):
    if child["type"] != parent["type"]:
        return False
    if child["type"] == "mcp_tool":
        return child["server"] == parent["server"] and \
            set(child["actions"]) <= set(parent["actions"]) and \
            narrower_arguments(child["arguments"], parent["arguments"])
    if child["type"] == "https_connect":
        return child == parent
    if child["type"] != "http_request":
        return False
    bodies, queries = [one["body"] for one in (child, parent)], (child, parent)
    return child["upstream"] == parent["upstream"] and \
        set(child["methods"]) <= set(parent["methods"]) and below(child["path"], parent["path"]) \
        and (bodies[1] == "any" or (bodies[0] != "any" and narrower_arguments(*bodies))) \
        and ("query" in queries[1] or "query" not in queries[0])


def narrower(child, parent):
    """Whether an authority certainly allows nothing that the one above does not."""
    theirs, ours = child["limits"], parent["limits"]
    if not all(any(narrower_detail(detail, one) for one in parent["authorization_details"])
               for detail in child["authorization_details"]):
        return False
    if "uses" in ours and not theirs.get("uses", INTEGER_MAX) <= ours["uses"] or \
            millis(theirs.get("not_after")) > millis(ours.get("not_after")):
        return False
    if "rate" in ours:
        rate = theirs.get("rate")
        if not rate or rate["count"] > ours["rate"]["count"] or \
                rate["per_secs"] < ours["rate"]["per_secs"]:
            return False
    sums = {one["argument"]: Fraction(one["max"]) for one in theirs.get("sums", [])}
    if not all(one["argument"] in sums and sums[one["argument"]] <= Fraction(one["max"])
               for one in ours.get("sums", [])):
        return False
    return theirs.get("depth", 0) < ours.get("depth", 0)


# --- what the records claim ----------------------------------------------------------------------

# Who may own a key of which purpose.
OWNERS = {"ca": "server", "jwt_svid": "server", "token": "server", "grant": "server",
          "log": "server", "node": "nod_", "gateway": "gtw_", "person": "per_", "agent": "agt_"}
GATEWAY_KINDS = {"call.intent", "call.outcome"}


class Hop:
    """One grant of the chain with its record, and what it rests on."""

    def __init__(self, record):
        self.record, self.what = record, record.what
        self.jws = Jws(record.get("grant"), "aims-grant+jwt", f"{self.what}: the grant")
        (self.issuer, self.id, self.issued, self.expires, self.task, self.purpose, self.delegator,
         delegate, self.ancestors, self.parent, self.authority, self.revision) = members(
            self.jws.payload, "iss jti iat exp task purpose delegator delegate ancestors parent "
            "authority rev", f"{self.what}: the grant")
        self.agent, self.spiffe_id = members(delegate, "id spiffe_id", f"{self.what}: delegate")
        details, limits = members(self.authority, "authorization_details limits", self.what)
        hold(typed(details, list, self.what), f"{self.what}: it allows nothing")
        check_limits(limits, self.what)
        hold(is_number(self.issued) and is_number(self.expires) and is_number(self.revision)
             and 0 < self.expires - self.issued <= GRANT_MILLIS_MAX, f"{self.what}: how long")
        self.digest = digest(self.jws.text.encode())
        hold(record.get("grant_digest") == self.digest, f"{self.what}: grant_digest")
        self.root = record.kind == "task.started"
        if self.root:
            kind, self.by, self.by_name, consent = members(
                self.delegator, "type id name consent", f"{self.what}: delegator")
            hold(kind == "person", f"{self.what}: a root is from a person")
            self.consent = Jws(consent, "aims-consent+jwt", f"{self.what}: the consent")
            self.kids = [self.jws.kid, self.consent.kid]
        else:
            kind, self.by, self.by_spiffe_id, self.by_instance, request, wit = members(
                self.delegator, "type id spiffe_id instance request wit", f"{self.what}: delegator")
            hold(kind == "agent", f"{self.what}: a hop is from an agent")
            self.request = Jws(request, "aims-delegation+jwt", f"{self.what}: the request")
            self.wit = Jws(wit, "wit+jwt", f"{self.what}: the identity token")
            self.kids = [self.jws.kid, self.wit.kid]


class Chosen:
    """The records that the permit rests on, and no others."""

    def __init__(self, proof, log_key):
        records = self.records = proof.records
        self.intent = records.first("call.intent", decision_id=proof.decision)
        intent, first = self.intent, records.first
        self.outcome = records.find("call.outcome", decision_id=proof.decision)
        self.domain = first("domain.created")
        grants = intent.list("chain")
        self.chain = [Hop(first("delegation.granted" if at else "task.started", grant_digest=one))
                      for at, one in enumerate(grants)]
        hold(self.chain, "the permit names no grant")
        self.agents = [first("agent.registered", agent=hop.agent) for hop in self.chain]
        instances = [hop.by_instance for hop in self.chain[1:]] + [intent.get("instance")]
        self.attested = [first("instance.attested", instance=one) for one in instances]
        self.token = first("token.issued", jti=intent.get("token", "jti"))
        self.tree = first("tree.owned", task=intent.task, epoch=intent.get("epoch"))
        self.policy = first("policy.activated", policy=intent.get("policy", "id"))
        server = intent.get("resource", "server")
        self.server = server is not None and first("server.registered", name=server)
        self.persons = {self.chain[0].by: first("person.enrolled", person=self.chain[0].by)}
        self.asked = self.answered = None
        kids = [kid for hop in self.chain for kid in hop.kids] + [log_key.thumbprint]
        if intent.get("approval") is not None:
            approval, by = intent.get("approval", "id"), intent.get("approval", "by")
            self.asked = first("approval.asked", approval=approval)
            self.answered = first("approval.answered", approval=approval)
            self.answer = Jws(self.answered.get("jws"), "aims-approval+jwt", self.answered.what)
            self.persons[by] = first("person.enrolled", person=by)
            kids.append(self.answer.kid)
        self.keys = [first("key.enrolled", kid=kid) for kid in kids]
        for owner in [intent.source] + [one.get("node") for one in self.attested]:
            first("key.enrolled", owner=owner)
        self.complete()

    def complete(self):
        if self.outcome:
            hold((self.outcome.source, self.outcome.task) == (self.intent.source, self.intent.task),
                 f"{self.outcome.what}: of another task or gateway")
            self.outcome.text("outcome")
        for record in self.records.all:
            hold(record.index in self.records.used, f"{record.what}: nothing rests on it")
            behind = record.index > self.intent.index
            hold(behind == (record is self.outcome), f"{record.what}: its place")


class Claims:
    """What each record claims, given those before it, in the order of the file."""

    def __init__(self, chosen, head, log_key):
        self.chosen, self.head, self.log_key = chosen, head, log_key
        self.keys, self.people, self.domain = {}, {}, None
        self.grants, self.instances = {}, {}
        self.hops = {hop.record.index: (at, hop) for at, hop in enumerate(chosen.chain)}
        kinds = {"domain.created": self.created, "key.enrolled": self.key,
                 "person.enrolled": self.person, "task.started": self.root,
                 "delegation.granted": self.hop, "instance.attested": self.instance,
                 "token.issued": self.token, "approval.answered": self.answer,
                 "call.intent": self.permit}
        for record in chosen.records.all:
            hold((record.source != "server") == (record.kind in GATEWAY_KINDS),
                 f"{record.what}: not for {record.source} to say")
            kinds.get(record.kind, lambda record: None)(record)
        self.key_by(log_key.thumbprint, "log", "server", "the log")

    def created(self, record):
        self.domain = record.text("trust_domain")
        hold(self.head.origin == f"{self.domain}/log", "the checkpoint is of another trust domain")

    def key(self, record):
        jwk = parse_canonical(record.text("jwk").encode(), f"{record.what}: jwk")
        key, purpose, owner = Key(jwk, record.what), record.text("purpose"), record.text("owner")
        hold(key.thumbprint == record.get("kid"), f"{record.what}: the thumbprint")
        hold(key.thumbprint not in self.keys, f"{record.what}: enrolled twice")
        needed = OWNERS.get(purpose)
        hold(needed and (owner == needed or needed[-1] == "_" and owner.startswith(needed)),
             f"{record.what}: whose key it is")
        self.keys[key.thumbprint] = (key, purpose, owner, record.at)

    def key_by(self, kid, purpose, owner, what, at=None):
        """The key that signed something, which says of itself that it was at that instant."""
        hold(kid in self.keys, f"{what}: a key that was not enrolled before")
        key, its_purpose, its_owner, enrolled = self.keys[kid]
        hold(at is None or enrolled <= at + SKEW_MILLIS, f"{what}: a key of a later time")
        hold((its_purpose, its_owner) == (purpose, owner), f"{what}: a key for something else")
        return key

    def person(self, record):
        name = record.text("name")
        hold(re.fullmatch("(?!-)[a-z0-9-]{1,63}(?<!-)", name), f"{record.what}: the name")
        self.people[record.text("person")] = (name, record.text("role"))

    def granted(self, record):
        """What a root and a hop have in common."""
        at, hop = self.hops[record.index]
        hop.jws.by(self.key_by(hop.jws.kid, "grant", "server", hop.jws.what, hop.issued))
        hold(hop.issuer == self.domain, f"{hop.what}: its issuer")
        said = {"task": hop.task, "purpose": hop.purpose, "agent": hop.spiffe_id,
                "deadline": hop.expires, "delegation": hop.id, "revision": hop.revision}
        record.same(said, *said)
        hold(record.task == hop.task, f"{hop.what}: task")
        return at, hop

    def rests_on(self, hop, payload, by, more=""):
        """The signed consent or request says what the grant does."""
        members(payload, "iss aud jti iat agent purpose deadline authority" + more, hop.what)
        typed(payload["jti"], str, hop.what)
        hold(type(payload["iat"]) is int and payload["iat"] >= 0, f"{hop.what}: iat")
        said = {"iss": by, "aud": self.domain, "purpose": hop.purpose}
        for name, value in said.items():
            hold(payload.get(name) == value, f"{hop.what}: {name} of what it rests on")
        hold(same(plain(payload["authority"]), plain(hop.authority)), f"{hop.what}: authority")
        hold(is_number(payload["deadline"]) and (payload["deadline"] == hop.expires if hop.root
             else payload["deadline"] >= hop.expires), f"{hop.what}: deadline")
        hold(-SKEW_MILLIS <= hop.issued - payload["iat"] <= REQUEST_MILLIS_MAX,
             f"{hop.what}: when what it rests on was signed")
        agent = f"spiffe://{self.domain}/agent/{payload.get('agent')}"
        hold(agent == hop.spiffe_id, f"{hop.what}: agent of what it rests on")

    def root(self, record):
        _, hop = self.granted(record)
        hold(hop.parent is None and hop.ancestors == [], f"{hop.what}: a root has nothing above it")
        key = self.key_by(hop.consent.kid, "person", hop.by, hop.consent.what,
                          hop.consent.payload.get("iat"))
        self.rests_on(hop, hop.consent.by(key), hop.by)
        hold((record.get("initiator", "id"), record.get("initiator", "name")) ==
             (hop.by, hop.by_name), f"{hop.what}: initiator")
        hold(self.people.get(hop.by, [None])[0] == hop.by_name, f"{hop.what}: the person's name")
        self.grants[hop.id] = hop

    def hop(self, record):
        at, hop = self.granted(record)
        above = self.chosen.chain[at - 1]
        hold(above.id in self.grants, f"{hop.what}: the hop above comes later")
        record.same({"parent": above.digest, "instance": hop.by_instance}, "parent", "instance")
        hold(hop.parent == above.digest and hop.task == above.task
             and hop.ancestors == above.ancestors + [above.id], f"{hop.what}: what is above it")
        hold((hop.by, hop.by_spiffe_id) == (above.agent, above.spiffe_id),
             f"{hop.what}: not given by who holds the hop above")
        asked_at = hop.request.payload.get("iat")
        wit = hop.wit.by(self.key_by(hop.wit.kid, "token", "server", hop.wit.what, asked_at))
        said = {"sub": above.spiffe_id, "aims_instance": hop.by_instance}
        for name, value in said.items():
            hold(wit.get(name) == value, f"{hop.wit.what}: {name}")
        began, ended = wit.get("iat") * 1000, wit.get("exp") * 1000
        hold("aud" not in wit and 0 < ended - began <= IDENTITY_MILLIS_MAX
             and began - SKEW_MILLIS <= asked_at < ended + SKEW_MILLIS, f"{hop.wit.what}: its time")
        hold(is_id(wit.get("jti"), "tok"), f"{hop.wit.what}: jti")
        confirmed = typed(wit.get("cnf"), dict, hop.wit.what).get("jwk")
        key = Key(confirmed, hop.wit.what)
        payload = hop.request.by(key)
        hold(hop.request.kid == key.thumbprint, f"{hop.request.what}: the key")
        self.rests_on(hop, payload, hop.by_instance, " parent")
        hold(payload.get("parent") == above.digest, f"{hop.request.what}: parent")
        hold(narrower(hop.authority, above.authority), f"{hop.what}: not narrower")
        hold(hop.expires <= above.expires, f"{hop.what}: ends later than the hop above")
        hold(hop.revision >= above.revision, f"{hop.what}: its revision")
        asker, under = self.instances.get(hop.by_instance, (None, None))
        hold(asker and under == above.id and asker.task == hop.task
             and asker.get("jkt") == key.thumbprint, f"{hop.what}: the instance that asked")
        self.grants[hop.id] = hop

    def instance(self, record):
        delegation = record.get("delegation")
        # One that does not say so acts under the root.
        under = self.chosen.chain[0].id if delegation is None else delegation
        hop = self.grants.get(under)
        hold(hop and record.task == hop.task, f"{record.what}: its hop")
        record.same({"agent": hop.spiffe_id}, "agent")
        self.instances[record.get("instance")] = (record, under)

    def token(self, record):
        hold(record.get("instance") in self.instances, f"{record.what}: its instance")

    def answer(self, record):
        by, chosen = record.text("by"), self.chosen
        hold(by == chosen.intent.get("approval", "by"), f"{record.what}: by somebody else")
        _, role = self.people.get(by, (None, None))
        hold(role in ("operator", "approver"), f"{record.what}: by who may not answer")
        hold(by != chosen.chain[0].by, f"{record.what}: by who started the task")
        said = chosen.answer.by(self.key_by(chosen.answer.kid, "person", by, record.what,
                                            chosen.answer.payload.get("iat")))
        members(said, "iss aud iat approval digest answer reason", record.what)
        hold(type(said["iat"]) is int and said["iat"] >= 0, f"{record.what}: iat")
        hold((said["iss"], said["aud"]) == (by, self.domain), f"{record.what}: by whom")
        record.same(said, "approval", "digest", "answer", "reason")
        hold(record.get("answer") == "approve", f"{record.what}: not approved")

    def permit(self, record):
        root, leaf = self.chosen.chain[0], self.chosen.chain[-1]
        hold(all(hop.id in self.grants for hop in self.chosen.chain), f"{record.what}: its chain")
        record.same({"agent": leaf.spiffe_id}, "agent")
        hold((record.get("subject", "id"), record.get("subject", "name")) ==
             (root.by, root.by_name), f"{record.what}: subject")
        hold(record.task == root.task, f"{record.what}: its task")
        instance, under = self.instances.get(record.get("instance"), (None, None))
        hold(instance and under == leaf.id, f"{record.what}: its instance")
        token = self.chosen.token
        token.same({"instance": record.get("instance")}, "instance")
        hold(record.get("token", "sha256") == token.text("sha256"), f"{record.what}: its token")
        if self.chosen.answered:
            hold(record.get("approval", "digest") == self.question(record) ==
                 self.chosen.answered.get("digest") == self.chosen.asked.get("digest"),
                 f"{record.what}: the approval is of another call")

    def question(self, record):
        """The digest of what a person was asked, computed from the permit."""
        leaf = self.chosen.chain[-1]
        resource = record.get("resource")
        asked = {"task": record.task, "initiator": record.get("subject", "id"),
                 "agent": leaf.spiffe_id, "delegation": leaf.id, "leaf": leaf.digest,
                 "server": resource.get("server"), "tool": resource.get("tool"),
                 "pin": resource.get("pin"),
                 "arguments": record.get("arguments") or digest(b"{}"),
                 "policy": record.get("policy", "id"),
                 "requirements": [one["policy"] for one in record.list("requirements")
                                  if one["kind"] == "approval"]}
        return digest(encoded(asked))


# --- what the records say of each other ---------------------------------------------------------


def measured(value, what):
    """One file or tree with its digest."""
    path, its_digest = members(value, "path digest", what)
    undigest(its_digest, what)
    return typed(path, str, what), its_digest


def evidence_of(value, more, what):
    """What is measured, in any order, and the arguments."""
    names = "interpreter program files trees arguments"
    interpreter, program, files, trees, arguments, *rest = members(value, names + more, what)
    for one in rest:
        undigest(one, what)
    parts = [interpreter and measured(interpreter, what), measured(program, what)]
    parts += [sorted(measured(one, what) for one in typed(many, list, what))
              for many in (files, trees)]
    return parts, arguments


def registered_evidence(registered, record):
    """What was seen is exactly what was registered; `any` arguments are any."""
    expected, allowed = evidence_of(registered.get("evidence"), "", registered.what)
    evidence, _, uid, host = members(record.get("posture"), "evidence assurance host_uid host",
                                     f"{record.what}: posture")
    seen, arguments = evidence_of(evidence, " environment plan", record.what)
    hold(seen == expected, f"{record.what}: it is not what was registered")
    texts = [typed(one, str, record.what) for one in typed(arguments, list, record.what)]
    exactly = [] if allowed == "any" else members(allowed, "exactly", registered.what)[0]
    hold(type(exactly) is list and all(type(one) is str for one in exactly), registered.what)
    hold(allowed == "any" or texts == exactly, f"{record.what}: its arguments")
    hold(type(uid) is int and 0 < uid < 2**32 and type(host) is str, f"{record.what}: its user")


def said_permitted(intent, chain):
    hold(intent.get("decision") == "permit", "the decision is no permit")
    principals = intent.list("principals")
    hold(len(principals) >= 2 and all(one["decision"] == "permit" for one in principals),
         "a principal is not permitted")
    hops = [hop.id for hop in chain]
    for name in ("authority", "reserved", "agents"):
        hold([one.get("delegation") for one in intent.list(name)] == hops,
             f"{name}: not the hops of the chain")
    for one in intent.list("authority"):
        hold("detail" in one, "authority: a hop that does not allow it")
    for one in intent.list("reserved"):
        for amount in typed(one["use"]["amounts"], dict, "reserved").values():
            hold(re.fullmatch(r"-?[0-9]+(\.[0-9]+)?", typed(amount, str, "reserved")), "reserved")
    for one, hop in zip(intent.list("agents"), chain):
        hold(one == {"delegation": hop.id, "agent": hop.spiffe_id,
                     "from": None if hop.root else hop.by_instance}, "agents")
    hold(all(one.get("met") is True for one in intent.list("requirements")),
         "a requirement is not met")


def related(chosen, at, policy):
    intent, chain = chosen.intent, chosen.chain
    said_permitted(intent, chain)
    for hop, agent in zip(chain, chosen.agents):
        hold(agent.get("spiffe_id") == hop.spiffe_id, f"{agent.what}: spiffe_id")
        hold(agent.index < hop.record.index, f"{agent.what}: registered after it was trusted")
        hold(hop.issued - SKEW_MILLIS <= at < hop.expires, f"{hop.what}: not valid")
    for record, agent in zip(chosen.attested, chosen.agents):
        registered_evidence(agent, record)
        hold(record.get("posture", "assurance") == agent.get("assurance"),
             f"{record.what}: assurance")
        for check in ("attestation", "environment", "policy"):
            hold(record.get(check, "result") == "ok", f"{record.what}: {check}")
        jwk = parse_json(record.text("jwk"), f"{record.what}: jwk")
        hold(Key(jwk, record.what).thumbprint == record.get("jkt"), f"{record.what}: jkt")
    token, last = chosen.token, chosen.attested[-1]
    hold(intent.get("posture", "assurance") == last.get("posture", "assurance"), "the posture")
    token.same({"chain": intent.get("chain"), "agent": intent.get("agent"),
                "subject": intent.get("subject", "id"), "revision": intent.get("minted"),
                "jkt": last.get("jkt"), "node": last.get("node")},
               "chain", "agent", "subject", "revision", "jkt", "node")
    hold(at < token.number("expires_at") + SKEW_MILLIS, f"{token.what}: it had ended")
    hold(chosen.policy.get("digest") == intent.get("policy", "digest") == digest(policy.encode()),
         "the policy is another one")
    if chosen.server:
        tool = intent.get("resource", "tool")
        hold(any(type(one) is dict and one.get("name") == tool
                 and one.get("digest") == intent.get("resource", "pin")
                 for one in chosen.server.list("tools")), "the tool's pin")
    hold(chosen.tree.get("gateway") == intent.source and chosen.tree.get("released") is False,
         f"{chosen.tree.what}: not the owner")
    for hop in chain:
        hold(hop.revision <= last.number("revision") <= intent.number("minted")
             <= intent.number("revision"), f"{hop.what}: the order of revisions")


# --- the decision again --------------------------------------------------------------------------


class Policies:
    """The policies by their names, those with a requirement apart."""

    def __init__(self, text):
        try:
            found = json.loads(cedarpy.policies_to_json_str(text))["staticPolicies"]
        except ValueError as error:
            raise Refused(f"the policy: {str(error)[:80]}") from None
        self.rules, self.requirements = {}, {}
        for policy in found.values():
            notes = policy["annotations"]
            kind = self.requirements if "requirement" in notes else self.rules
            kind[notes["id"]] = policy
        self.order = [policy["annotations"]["id"] for policy in found.values()]

    def ask(self, request, entities, names):
        """The decision on these policies, and which of them it rests on."""
        policies = {name: (self.rules | self.requirements)[name] for name in names}
        text = cedarpy.policies_from_json_str(json.dumps(
            {"templates": {}, "staticPolicies": policies, "templateLinks": []}))
        # Cedar's text has no names but annotations: they come back as `policy0` and so on.
        said = cedarpy.is_authorized(request, text, entities)
        hold(not said.diagnostics.errors, "a policy fails when it is evaluated")
        again = json.loads(cedarpy.policies_to_json_str(text))["staticPolicies"]
        rests_on = {again[one]["annotations"]["id"] for one in said.diagnostics.reasons}
        return said.allowed, [name for name in self.order if name in rests_on]


def cedar_value(value):
    """A value as Cedar has it, or nothing where it has none."""
    if type(value) in (bool, str) or type(value) is int and -2**63 <= value < 2**63:
        return value
    if type(value) is list:
        return [item for item in map(cedar_value, value) if item is not None]
    if type(value) is dict:
        held = {name: cedar_value(item) for name, item in value.items()}
        return {name: item for name, item in held.items() if item is not None}
    return None


class Again:
    """The decision made again from what it used."""

    def __init__(self, proof, chosen):
        salt, self.material, tools = members(proof.used, "salt material tools", "used")
        self.intent, self.chosen = chosen.intent, chosen
        salt = unbase64url(salt, "the salt")
        hold(len(salt) == 16, "the salt")
        members(self.material, "v decision_id resource action minted revision at arguments chain "
                "agents person calls assurance policy tools", "the material")
        material = self.material
        hold(digest(salt + encoded(material)) == self.intent.get("materials"),
             "what the decision used is not what the record commits to")
        hold(digest(encoded(tools)) == material["tools"], "the tools are not those it used")
        hold(same(material["v"], 2), "the material's version")
        hold(is_number(material["at"]) and is_number(material["calls"], 2**32 - 1)
             and material["assurance"] == "confined", "the material: its form")
        self.same_as_recorded()
        self.arguments = {}
        if material["arguments"] is not None:
            self.arguments = parse_json(material["arguments"], "the arguments", fractions=True)
            typed(self.arguments, dict, "the arguments")
        self.policies = Policies(proof.policy)
        self.decide()

    def same_as_recorded(self):
        material, intent = self.material, self.intent
        intent.same(material, "decision_id", "resource", "action", "minted", "revision")
        hold(material["assurance"] == intent.get("posture", "assurance"), "the assurance")
        hold(material["policy"] == intent.get("policy", "digest"), "the policy it used")
        text = material["arguments"]
        hold(intent.get("arguments") == (None if text is None else digest(text.encode())),
             "the arguments it used")
        hold(material["chain"] == [hop.jws.text for hop in self.chosen.chain], "the chain it used")
        registered = [{"id": one.get("agent"), "name": one.get("name"),
                       "spiffe_id": one.get("spiffe_id"), "owner": one.get("owner", "name"),
                       "environment": one.get("environment")} for one in self.chosen.agents]
        hold(material["agents"] == registered, "the agents it used")
        hold(material["person"] == self.chosen.chain[0].by_name, "the person it used")

    def decide(self):
        intent, at = self.intent, self.material["at"]
        resource = intent.get("resource")
        for hop, recorded in zip(self.chosen.chain, intent.list("authority")):
            details = hop.authority["authorization_details"]
            allowing = [allows(detail, resource, self.arguments) for detail in details]
            hold(True in allowing, f"{hop.what}: does not allow it")
            hold(recorded == {"delegation": hop.id, "detail": allowing.index(True)},
                 f"{hop.what}: another detail allows it")
            hold(at < millis(hop.authority["limits"].get("not_after")), f"{hop.what}: it had ended")
        principals = [self.principal("Person", self.material["person"])]
        for agent in self.material["agents"]:
            said = self.principal("Agent", agent["name"])
            if said not in principals:
                principals.append(said)
        hold(intent.get("principals") == principals, "the principals come out otherwise")
        hold(intent.get("reasons") == [
            f"policy for {one['principal']}: permitted by "
            + ", ".join(f"`{name}`" for name in one["policies"]) for one in principals],
            "the reasons come out otherwise")
        self.requirements()

    def request(self, kind, name):
        resource = self.intent.get("resource")
        if "tool" in resource:
            tool = f"{resource['server']}/{resource['tool']}"
            action, target = tool, {"type": "Tool", "id": tool}
        else:
            action, target = "connect", {"type": "Host", "id": resource["host"]}
        context = {"arguments": cedar_value(self.arguments),
                   "task": {"purpose": self.chosen.chain[0].purpose},
                   "session": {"calls": self.material["calls"]},
                   "posture": {"assurance": self.material["assurance"]}}
        if "port" in resource:
            context["port"] = resource["port"]
        return {"principal": f"{kind}::{json.dumps(name)}",
                "action": f"Action::{json.dumps(action)}",
                "resource": f"{target['type']}::{json.dumps(target['id'])}", "context": context}

    def entities(self):
        resource = self.intent.get("resource")
        found = [entity("Person", self.material["person"], {"name": self.material["person"]})]
        for agent in self.material["agents"]:
            found.append(entity("Agent", agent["name"], {
                "name": agent["name"], "owner": agent["owner"],
                "environment": agent["environment"], "assurance": self.material["assurance"]}))
        if "tool" in resource:
            server, tool = resource["server"], resource["tool"]
            found += [entity("Server", server, {"name": server}),
                      entity("Tool", f"{server}/{tool}", {"name": tool, "server": server},
                             {"type": "Server", "id": server}),
                      entity("Action", f"{server}/{tool}", {}, {"type": "Action", "id": "call"})]
        else:
            found.append(entity("Host", resource["host"], {"name": resource["host"]}))
        return unique(found)

    def principal(self, kind, name):
        allowed, names = self.policies.ask(self.request(kind, name), self.entities(),
                                           self.policies.rules)
        hold(allowed, f"the policy does not permit it to {kind.lower()} {name}")
        return {"principal": f"{kind.lower()}:{name}", "decision": "permit", "policies": names,
                "errors": []}

    def requirements(self):
        """Each that matches for a principal, in the order of the text."""
        kinds = {name: policy["annotations"]["requirement"]
                 for name, policy in self.policies.requirements.items()}
        asked = [("Person", self.material["person"])]
        asked += [("Agent", agent["name"]) for agent in self.material["agents"]]
        matching = {name for kind, who in asked for name in kinds if self.policies.ask(
            self.request(kind, who), self.entities(), [name])[0]}
        found = [{"policy": name, "kind": kinds[name], "met": True}
                 for name in self.policies.order if name in matching]
        hold(self.intent.get("requirements") == found, "the requirements come out otherwise")
        for one in found:
            if one["kind"] == "approval":
                self.approved(one["policy"])
            else:
                hold(one["kind"] == f"assurance:{self.material['assurance']}",
                     f"the requirement {one['policy']} is not met")

    def approved(self, name):
        asked = self.chosen.asked
        hold(asked, f"nobody was asked about {name}")
        hold(name in asked.list("requirements"), f"somebody else was asked than {name} says")
        asked.same({"server": self.intent.get("resource", "server"),
                    "tool": self.intent.get("resource", "tool")}, "server", "tool")
        at, signed = self.material["at"], self.chosen.answer.payload["iat"]
        hold(max(at, signed) < asked.number("deadline"), "the approval came too late")
        hold(asked.at - SKEW_MILLIS <= signed <= at + SKEW_MILLIS, "when it was answered")


def entity(kind, name, attributes, *parents):
    return {"uid": {"type": kind, "id": name}, "attrs": attributes, "parents": list(parents)}


def unique(entities):
    return list({json.dumps(one["uid"]): one for one in entities}.values())


def millis(text):
    """An instant of RFC 3339 in UTC; without one, there is no end."""
    if text is None:
        return float("inf")
    instant = datetime.fromisoformat(text.removesuffix("Z") + "+00:00")
    return int(instant.timestamp() * 1000)


# --- one file ------------------------------------------------------------------------------------


class Proof:
    """The file, its checkpoints, and the places of its records."""

    def __init__(self, data, keys, kept):
        hold(len(data) <= FILE_BYTES_MAX, "the file is longer than 16 MiB")
        (form, self.decision, checkpoint, records, policy, self.used, since) = members(
            parse_canonical(data, "the file"),
            "format decision checkpoint records policy used since", "the file")
        hold(form == "aims-proof/1", "the format")
        self.policy = typed(policy, str, "the policy")
        self.head = Checkpoint(checkpoint, keys, "the checkpoint")
        known = [self.head]
        if since is not None:
            earlier, path = members(since, "checkpoint path", "since")
            earlier = Checkpoint(earlier, keys[:1], "since")
            continues(earlier, self.head, digests(path, "since"), "since")
            known.append(earlier)
        if kept:
            kept_as(kept, known)
        self.records = Records(records, self.head)


def kept_as(kept, known):
    for one in known:
        if one.size == kept.size:
            hold(one.root == kept.root, "the log signed two trees of one size")
    if kept.size not in [one.size for one in known]:
        raise Refused("export it with --since the checkpoint that was kept"
                      if kept.size < known[0].size else
                      "the log has fewer records than the checkpoint that was kept: it may have "
                      "lost its tail")


def verify(data, keys, kept):
    """Whether the decision was made again; raises `Refused` where something does not hold."""
    proof = Proof(data, keys, kept)
    public = {"kty": "OKP", "crv": "Ed25519", "x": base64url(keys[0].bytes)}
    log_key = Key(public, "the log's key")
    chosen = Chosen(proof, log_key)
    Claims(chosen, proof.head, log_key)
    at = proof.used["material"]["at"] if proof.used else chosen.intent.at
    related(chosen, at, proof.policy)
    if proof.used is not None:
        Again(proof, chosen)
    return proof.used is not None


# --- the command ---------------------------------------------------------------------------------


def key_of(text, kind):
    """A key, or the one that a file holds."""
    path = pathlib.Path(text)
    try:
        key = NoteKey(text if "+" in text and not path.exists() else path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise Unreadable(f"{text}: {error}") from None
    if key.kind != kind:
        raise Unreadable(f"{text}: a key of another type")
    return key


def verdict(file, keys, kept):
    """The exit code for one file, and what to say."""
    try:
        data = pathlib.Path(file).read_bytes()
    except OSError as error:
        return 2, f"can't be read: {error}"
    try:
        return (0, "holds") if verify(data, keys, kept) else (4, "included, not re-runnable")
    except Refused as refused:
        return 1, str(refused)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        return 1, f"a member of another type than it has to be: {error!r}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="+", metavar="FILE")
    parser.add_argument("--log-key", required=True)
    parser.add_argument("--witness", action="append", default=[])
    parser.add_argument("--checkpoint")
    options = parser.parse_args()
    try:
        keys = [key_of(options.log_key, b"\1")]
        keys += [key_of(text, b"\4") for text in options.witness]
        kept = options.checkpoint and Checkpoint(
            pathlib.Path(options.checkpoint).read_text("utf-8"), keys[:1], "kept", exactly=False)
    except (OSError, UnicodeDecodeError, Unreadable, Refused) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    codes = set()
    for file in options.files:
        code, words = verdict(file, keys, kept)
        codes.add(code)
        print(f"{code} {file}: {words}", flush=True)
    return next(code for code in (2, 1, 4, 0) if code in codes)


if __name__ == "__main__":
    sys.exit(main())

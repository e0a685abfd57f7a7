"""Changed proofs of AIMS: by a vandal, who has the file, and by a forger, who holds every key.

    mutations.py vandal|forger|witness DIR NUMBER SEED PROOF …

Used by `proofs.py`. Writes so many changed files into directories below DIR, each directory's with
the key of its log beside them where that is another one.
"""

import base64
import copy
import json
import pathlib
import random
import sys

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from verify_proof import Refused, base64url, canonical, digest, node, sha, unbase64url

RAW = (serialization.Encoding.Raw, serialization.PublicFormat.Raw)
JWS_MEMBERS = ("grant", "consent", "request", "wit", "jws")


# --- places in a value ----------------------------------------------------------------------------


def places(value, path=()):
    """Every place below a value."""
    items = value.items() if type(value) is dict else \
        enumerate(value) if type(value) is list else ()
    for name, item in items:
        yield path + (name,)
        yield from places(item, path + (name,))


def at(value, path):
    for name in path:
        value = value[name]
    return value


def put(value, path, new):
    at(value, path[:-1])[path[-1]] = new


def other_value(chance, value, file, donor):
    """Something else than this value, as near to it as possible."""
    if type(value) is bool:
        return not value
    if type(value) is int:
        return chance.choice([value + 1, value - 1, 0, -value, value + 90_000, 2**53 - 1,
                              str(value), None, True])
    if type(value) is str:
        place = chance.randrange(len(value) + 1)
        turned = chance.choice("abcdef0123456789A-_/.é\"")
        return chance.choice([
            value[:place] + turned + value[place + 1:], value[:place] + value[place + 1:],
            value[:place] + turned + value[place:], "", value.upper(), None, 7,
            [value], any_value(chance, file), any_value(chance, donor)])
    if value is None:
        return chance.choice([{}, [], "", 0, False])
    return chance.choice([None, [], {}, "", any_value(chance, donor)])


def any_value(chance, value):
    return copy.deepcopy(at(value, chance.choice(list(places(value)))))


def changed(chance, file, donor, places_of=places):
    """The file with one place changed; `donor` is another file of the same kind."""
    file = copy.deepcopy(file)
    path = chance.choice(list(places_of(file)))
    holder, value = at(file, path[:-1]), at(file, path)
    how = chance.randrange(10)
    if how == 0:
        del holder[path[-1]]
    elif how == 1 and type(holder) is list:
        holder.insert(chance.randrange(len(holder) + 1), copy.deepcopy(value))
    elif how == 2 and type(holder) is list:
        other = chance.randrange(len(holder))
        holder[path[-1]], holder[other] = holder[other], value
    elif how == 3 and type(holder) is dict:
        holder["more"] = value
    elif how == 4 and type(holder) is dict:
        other = chance.choice(list(holder))
        holder[path[-1]], holder[other] = holder[other], value
    elif how == 5 and path in set(places(donor)):
        put(file, path, copy.deepcopy(at(donor, path)))
    else:
        put(file, path, other_value(chance, value, file, donor))
    return file


# --- the vandal ---------------------------------------------------------------------------------


def flipped(chance, data, _donor):
    """One bit."""
    place = chance.randrange(len(data))
    return data[:place] + bytes([data[place] ^ 1 << chance.randrange(8)]) + data[place + 1:]


def cut_or_stretched(chance, data, _donor):
    """Bytes that are missing, doubled, moved or added."""
    one, two = sorted(chance.randrange(len(data)) for _ in range(2))
    return chance.choice([
        data[:one], data[two:], data[:one] + data[one + 1:], data[:one] + data[two:],
        data[:two] + data[one:], data[:one] + b" " + data[one:], data + b"\n",
        b"\xef\xbb\xbf" + data])


def rebuilt(chance, data, donor):
    """One place of the file changed, and written in canonical form again."""
    return encoded(changed(chance, json.loads(data), json.loads(donor)))


def respelled(chance, data, _donor):
    """The same content, spelled otherwise."""
    value = json.loads(data)
    members = list(value.items())
    chance.shuffle(members)
    return chance.choice([
        json.dumps(value, sort_keys=True, ensure_ascii=False).encode(),
        json.dumps(value, sort_keys=True, ensure_ascii=False, indent=0).encode(),
        json.dumps(dict(members), separators=(",", ":"), ensure_ascii=False).encode(),
        data[:-1] + b',"used":null}', data.replace(b"a", b"\\u0061", 1),
        data.replace(b'"v":1', b'"v":1.0', 1), data.replace(b'"v":1', b'"v":1e0', 1),
        data.replace(b"/", b"\\/", 1)])


def moved(chance, data, donor):
    """Records, material, or tools of another proof; records that are missing, double or swapped."""
    file, other = json.loads(data), json.loads(donor)
    records = file["records"]
    one, two = chance.randrange(len(records)), chance.randrange(len(records))
    how = chance.randrange(7)
    if how == 0:
        del records[one]
    elif how == 1:
        records.insert(one, records[two])
    elif how == 2:
        records[one], records[two] = records[two], records[one]
    elif how == 3:
        records[one]["record"] = records[two]["record"]
    elif how == 4:
        records[one] = chance.choice(other["records"])
    elif how == 5:
        name = chance.choice(list(file))
        file[name] = other[name]
    elif file["used"]:
        name = chance.choice(list(file["used"]))
        file["used"][name] = (other["used"] or file["used"])[name]
    return encoded(file)


def encoded(value):
    """Canonical, where that is possible; lone surrogates become question marks."""
    return canonical(value).encode(errors="replace")


# --- the forger -----------------------------------------------------------------------------------


class Signer:
    """A key of the forger's, with the JWK and the thumbprint that it is enrolled under."""

    def __init__(self, curve):
        self.is_ed25519 = curve == "Ed25519"
        if self.is_ed25519:
            self.key = ed25519.Ed25519PrivateKey.generate()
            self.jwk = {"crv": curve, "kty": "OKP",
                        "x": base64url(self.key.public_key().public_bytes(*RAW))}
        else:
            self.key = ec.generate_private_key(ec.SECP256R1())
            point = self.key.public_key().public_numbers()
            self.jwk = {"crv": curve, "kty": "EC", "x": base64url(point.x.to_bytes(32, "big")),
                        "y": base64url(point.y.to_bytes(32, "big"))}
        self.kid = base64url(sha(canonical(self.jwk).encode()))

    def sign(self, data):
        if self.is_ed25519:
            return self.key.sign(data)
        r, s = decode_dss_signature(self.key.sign(data, ec.ECDSA(hashes.SHA256())))
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")

    def jws(self, header, payload):
        text = ".".join(base64url(canonical(part).encode()) for part in (header, payload))
        return f"{text}.{base64url(self.sign(text.encode()))}"

    def note_key(self, name, kind=b"\1"):
        data = kind + self.key.public_key().public_bytes(*RAW)
        key_id = sha(name.encode() + b"\n" + data)[:4].hex()
        return f"{name}+{key_id}+{base64.b64encode(data).decode()}"

    def note_line(self, name, text):
        key_id = bytes.fromhex(self.note_key(name).split("+")[1])
        return f"— {name} {base64.b64encode(key_id + self.sign(text.encode())).decode()}\n"

    def cosignature(self, name, text, time):
        """As a witness: c2sp.org/tlog-cosignature."""
        key_id = bytes.fromhex(self.note_key(name, b"\4").split("+")[1])
        signed = self.sign(f"cosignature/v1\ntime {time}\n{text}".encode())
        data = key_id + time.to_bytes(8, "big") + signed
        return f"— {name} {base64.b64encode(data).decode()}\n"


def substituted(value, old, new):
    """The value with every text that has `old` in it having `new` there."""
    if type(value) is str:
        return value.replace(old, new)
    if type(value) is list:
        return [substituted(item, old, new) for item in value]
    if type(value) is dict:
        return {name: substituted(item, old, new) for name, item in value.items()}
    return value


def opened(value):
    """The value with what is in signed tokens laid open."""
    if type(value) is list:
        return [opened(item) for item in value]
    if type(value) is not dict:
        return value
    held = {}
    for name, item in value.items():
        if name in JWS_MEMBERS and type(item) is str and item.count(".") == 2:
            header, payload = [json.loads(unbase64url(part, name)) for part in item.split(".")[:2]]
            item = {"header": header, "payload": opened(payload)}
        else:
            item = opened(item)
        held[name] = item
    return held


class Forger:
    """Holds a key in the place of each key in a proof, and signs everything again."""

    def __init__(self, data):
        file = json.loads(data)
        self.keys, self.log = {}, None
        text = [opened(one["record"]) for one in file["records"]]
        for record in list(text):
            if record["kind"] in ("key.enrolled", "instance.attested"):
                body = record["body"]
                old = json.loads(body["jwk"])
                new = Signer(old["crv"])
                kid = base64url(sha(canonical(old).encode()))
                text = substituted(text, body["jwk"], canonical(new.jwk))
                text = substituted(text, kid, new.kid)
                text = substituted(text, old["x"], new.jwk["x"])
                text = substituted(text, old.get("y", "-no-y-"), new.jwk.get("y", ""))
                self.keys[new.kid] = new
                if body.get("purpose") == "log":
                    self.log = new
        used = file["used"]
        if used:
            used["material"]["chain"] = None
        self.open = {"records": text, "used": used, "policy": file["policy"]}
        self.decision = file["decision"]
        self.domain = text[0]["body"]["trust_domain"]
        self.note_key = self.log.note_key(f"{self.domain}/log")
        # What each grant's digest and the question's was, so that it can follow what is changed.
        self.digests = [record["body"]["grant_digest"] for record in text
                        if "grant_digest" in record["body"]]
        self.asked = next((record["body"]["digest"] for record in text
                           if record["kind"] == "approval.asked"), None)

    def sealed(self, value):
        """Signed again, from the innermost token outwards; a broken one stays as it is."""
        if type(value) is list:
            return [self.sealed(item) for item in value]
        if type(value) is not dict:
            return value
        held = {name: self.sealed(item) for name, item in value.items()}
        if set(held) == {"header", "payload"} and type(held["header"]) is dict:
            key = self.keys.get(str(held["header"].get("kid")))
            return key.jws(held["header"], held["payload"]) if key else "a.b.c"
        return held

    def file(self, value):
        """The whole file for records, policy and what was used."""
        value = copy.deepcopy(value)
        grants = {}
        for old in self.digests:
            for record in value["records"]:
                body = type(record) is dict and record.get("body")
                if type(body) is dict and body.get("grant_digest") == old:
                    text = self.sealed(body.get("grant"))
                    if type(text) is str:
                        body["grant"], grants[old] = text, text
            if old in grants:
                new = digest(grants[old].encode())
                value = substituted(value, old, new)
        value = self.question(value)
        used = value.get("used")
        if type(used) is dict and type(used.get("material")) is dict:
            material = used["material"]
            if material.get("chain", 0) is None:
                material["chain"] = list(grants.values())
            self.commit(value, used)
        return self.logged(value)

    def question(self, value):
        """The digest of what a person was asked follows the permit."""
        try:
            intent = next(record for record in value["records"]
                          if record.get("kind") == "call.intent")
            body, leaf = intent["body"], intent["body"]["chain"][-1]
            asked = {"task": intent["task"], "initiator": body["subject"]["id"],
                     "agent": body["agent"], "delegation": body["agents"][-1]["delegation"],
                     "leaf": leaf, "server": body["resource"]["server"],
                     "tool": body["resource"]["tool"], "pin": body["resource"]["pin"],
                     "arguments": body["arguments"], "policy": body["policy"]["id"],
                     "requirements": [one["policy"] for one in body["requirements"]]}
            return substituted(value, self.asked, digest(encoded(asked)))
        except (AttributeError, LookupError, TypeError, StopIteration):
            return value

    @staticmethod
    def commit(value, used):
        try:
            intent = next(record for record in value["records"]
                          if record["kind"] == "call.intent")
            salt = unbase64url(used["salt"], "salt")
            intent["body"]["materials"] = digest(salt + encoded(used["material"]))
        except (LookupError, TypeError, StopIteration, Refused):
            pass  # then the commitment is a wrong one

    def logged(self, value):
        """A tree of just these records, under a checkpoint by the forger."""
        records = [self.sealed(record) for record in value["records"]]
        leaves = [sha(b"\0" + encoded(record)) for record in records]
        text = f"{self.domain}/log\n{len(leaves)}\n{base64.b64encode(tree(leaves)).decode()}\n"
        return encoded({
            "format": "aims-proof/1", "decision": self.decision,
            "checkpoint": f"{text}\n{self.log.note_line(f'{self.domain}/log', text)}",
            "records": [{"index": index, "record": record,
                         "path": ["sha256:" + one.hex() for one in path_of(leaves, index)]}
                        for index, record in enumerate(records)],
            "policy": value["policy"], "used": value["used"], "since": None})

    def untouched(self):
        return self.file(self.open)

    def changed(self, chance, donor):
        """One place changed behind all signatures."""
        return self.file(changed(chance, self.open, donor.open, chosen_places))


# What a grant allows has a language of its own: of it, the forger changes these.
BOUNDS = {"equals", "min", "max", "max_length", "uses", "depth"}


def chosen_places(value):
    """Places in records and material; the tools' many schemas would drown them."""
    for path in places(value):
        within = {"authority", "header"} & set(path[:-1])
        if len(path) > 1 and path[1] != "tools" and (not within or path[-1] in BOUNDS):
            yield path


def tree(leaves):
    if len(leaves) == 1:
        return leaves[0]
    split = 1 << (len(leaves) - 1).bit_length() - 1
    return node(tree(leaves[:split]), tree(leaves[split:]))


def path_of(leaves, index):
    """RFC 9162 §2.1.3.1."""
    if len(leaves) == 1:
        return []
    split = 1 << (len(leaves) - 1).bit_length() - 1
    if index < split:
        return path_of(leaves[:split], index) + [tree(leaves[split:])]
    return path_of(leaves[split:], index - split) + [tree(leaves[:split])]


def witness(top, seconds, files):
    """The first file as a witness saw it, as somebody else signed it, and as it saw another."""
    signer, other = Signer("Ed25519"), Signer("Ed25519")
    name = "witness.example"
    (top / "witness").mkdir()
    (top / "witness" / "key").write_text(signer.note_key(name, b"\4"))
    file = json.loads(files[0].read_bytes())
    note, text = file["checkpoint"], file["checkpoint"].split("\n\n")[0] + "\n"
    line = signer.cosignature(name, text, seconds)
    for index, lines in enumerate([
            line, "", line + line, other.cosignature(name, text, seconds),
            signer.cosignature(name, text.replace("\n", "x\n", 1), seconds),
            line + other.cosignature("else.example", text, seconds)]):
        write(top / "witness", f"{index}", encoded(file | {"checkpoint": note + lines}))


# --- the command ----------------------------------------------------------------------------------

VANDAL = [flipped, cut_or_stretched, rebuilt, respelled, moved]


def write(directory, name, data):
    directory.mkdir(exist_ok=True)
    (directory / f"{name}.proof").write_bytes(data)


def vandal(top, number, chance, files):
    for count in range(number):
        way = VANDAL[count % len(VANDAL)]
        data = way(chance, chance.choice(files), chance.choice(files))
        write(top / way.__name__, f"{count:05}", data)


def forger(top, number, chance, files):
    forgers = [(path.stem, Forger(path.read_bytes())) for path in files]
    for name, one in forgers:
        write(top / name, "untouched", one.untouched())
        (top / name / "key").write_text(one.note_key)
    for count in range(number):
        name, one = forgers[count % len(forgers)]
        write(top / name, f"{count:05}", one.changed(chance, chance.choice(forgers)[1]))


def main():
    who, top, number, seed, *files = sys.argv[1:]
    top, chance = pathlib.Path(top), random.Random(int(seed))
    files = [pathlib.Path(file) for file in files]
    if who == "witness":
        witness(top, int(number), files)
    elif who == "vandal":
        vandal(top, int(number), chance, [file.read_bytes() for file in files])
    else:
        forger(top, int(number), chance, files)


if __name__ == "__main__":
    main()

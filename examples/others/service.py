"""An ordinary service that asks the SPIFFE Workload API, by the client of the registry.

One JSON line on standard output for everything that it sees. `SPIFFE_ENDPOINT_SOCKET` says where.
"""

import json
import os
import sys
import threading
import time

import grpc
from spiffe import WorkloadApiClient, X509Source
from spiffe._proto import workload_pb2, workload_pb2_grpc

HEADER = "workload.spiffe.io"


def tell(**what):
    print(json.dumps({"at": time.time(), **what}), flush=True)


def workload_api():
    channel = grpc.insecure_channel(os.environ["SPIFFE_ENDPOINT_SOCKET"])
    return workload_pb2_grpc.SpiffeWorkloadAPIStub(channel)


def status(call):
    """The code that a call ends with."""
    try:
        answer = call()
        if hasattr(answer, "__next__"):
            next(answer)
        return "OK"
    except grpc.RpcError as error:
        return error.code().name


def pem(certificate):
    from cryptography.hazmat.primitives.serialization import Encoding
    return certificate.public_bytes(Encoding.PEM).decode()


def once(audience):
    """Everything that the client of the registry offers, once."""
    client = WorkloadApiClient()
    context = client.fetch_x509_context()
    svid = context.default_svid
    domain = svid.spiffe_id.trust_domain
    bundle = context.x509_bundle_set.get_bundle_for_trust_domain(domain)
    bundles = client.fetch_x509_bundles().get_bundle_for_trust_domain(domain)
    jwt = client.fetch_jwt_svid(audience={audience})
    named = client.fetch_jwt_svid(audience={audience}, subject=svid.spiffe_id)
    valid = client.validate_jwt_svid(jwt.token, audience)
    keys = client.fetch_jwt_bundles().get_bundle_for_trust_domain(domain)
    from spiffe import JwtSvid
    offline = JwtSvid.parse_and_validate(jwt.token, keys, {audience})
    tell(
        event="once",
        spiffe_id=str(svid.spiffe_id),
        chain=[pem(one) for one in svid.cert_chain],
        authorities=[pem(one) for one in bundle.x509_authorities],
        same_bundle=bundle.x509_authorities == bundles.x509_authorities,
        jwt=jwt.token,
        jwt_ids=[str(one.spiffe_id) for one in (jwt, named, valid, offline)],
        jwt_life=valid.expiry - time.time(),
    )


def watch():
    """Every certificate that the client's own source sees, until it is withdrawn."""
    seen, held = None, None
    with X509Source() as source:
        while True:
            svid = source.svid if not source.is_closed() else None
            if svid is None:
                return
            if svid.leaf.serial_number != seen:
                seen, held = svid.leaf.serial_number, svid.leaf
                tell(event="svid", serial=f"{seen:x}",
                     until=held.not_valid_after_utc.timestamp())
            time.sleep(0.05)


def stream():
    """Every message of one stream, and how it ends."""
    try:
        request = workload_pb2.X509SVIDRequest()
        for message in workload_api().FetchX509SVID(request, metadata=[(HEADER, "true")]):
            tell(event="message", ids=[one.spiffe_id for one in message.svids],
                 hints=[one.hint for one in message.svids])
        tell(event="end", code="OK")
    except grpc.RpcError as error:
        tell(event="end", code=error.code().name, why=error.details())


def attacks(token):
    """Calls that are not as they should be, and what each is told."""
    api, good = workload_api(), [(HEADER, "true")]
    x509 = workload_pb2.X509SVIDRequest
    jwt = workload_pb2.JWTSVIDRequest
    validate = workload_pb2.ValidateJWTSVIDRequest
    long = "a" * 513
    tell(event="attacks", told={
        "no header": status(lambda: api.FetchX509SVID(x509())),
        "a false header": status(lambda: api.FetchX509SVID(x509(), metadata=[(HEADER, "false")])),
        "a loud header": status(lambda: api.FetchX509SVID(x509(), metadata=[(HEADER, "TRUE")])),
        "two headers": status(lambda: api.FetchX509SVID(x509(), metadata=good * 2)),
        "no audience": status(lambda: api.FetchJWTSVID(jwt(), metadata=good)),
        "an empty audience": status(lambda: api.FetchJWTSVID(jwt(audience=[""]), metadata=good)),
        "a long audience": status(lambda: api.FetchJWTSVID(jwt(audience=[long]), metadata=good)),
        "nine audiences": status(
            lambda: api.FetchJWTSVID(jwt(audience=list("abcdefghi")), metadata=good)),
        "a huge request": status(
            lambda: api.FetchJWTSVID(jwt(audience=["a" * 200_000]), metadata=good)),
        "somebody else": status(lambda: api.FetchJWTSVID(
            jwt(audience=["a"], spiffe_id="spiffe://aims.local/agent/coder"), metadata=good)),
        "another audience": status(lambda: api.ValidateJWTSVID(
            validate(audience="other", svid=token), metadata=good)),
        "a changed token": status(lambda: api.ValidateJWTSVID(
            validate(audience="bank", svid=token[:-8] + "AAAAAAAA"), metadata=good)),
        "no token": status(lambda: api.ValidateJWTSVID(
            validate(audience="bank"), metadata=good)),
    })


def crowd(wanted):
    """As many streams as it gets."""
    told = {}
    lock = threading.Lock()
    done = threading.Barrier(wanted)

    def one():
        options = [("grpc.use_local_subchannel_pool", 1)]
        channel = grpc.insecure_channel(os.environ["SPIFFE_ENDPOINT_SOCKET"], options)
        api = workload_pb2_grpc.SpiffeWorkloadAPIStub(channel)
        calls = [api.FetchX509Bundles(workload_pb2.X509BundlesRequest(),
                                      metadata=[(HEADER, "true")]) for _ in range(16)]
        for call in calls:
            code = status(lambda: call)
            with lock:
                told[code] = told.get(code, 0) + 1
        done.wait()

    threads = [threading.Thread(target=one) for _ in range(wanted)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    tell(event="crowd", told=told)


def becomes(path):
    """Gets an identity, and then runs something else under the same number."""
    once("bank")
    sys.stdin.readline()
    os.execv(path, [path, "60"])


def main():
    mode, *rest = sys.argv[1:]
    calls = {"once": once, "watch": watch, "stream": stream, "attacks": attacks,
             "becomes": becomes, "crowd": lambda n: crowd(int(n))}
    try:
        calls[mode](*rest)
    except Exception as error:  # what the client says is what is looked at
        tell(event="failed", why=f"{type(error).__name__}: {error}")
        raise SystemExit(1) from error


main()

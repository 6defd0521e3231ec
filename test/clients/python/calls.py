"""Calls of every kind, then many on the same connection: what was seen as JSON on stdout."""

import json
import os
import threading

import grpc
from claviger.v1 import key_verifier_pb2 as verifier_pb
from claviger.v1 import key_verifier_pb2_grpc as verifier_rpc

METADATA = [("authorization", "Bearer " + os.environ["TOKEN"])]
# A HealthCheckResponse as bytes: generated code for the package `grpc` would hide gRPC itself.
SERVING = b"\x08\x01"
CALLS, AT_ONCE = int(os.environ["CALLS"]), int(os.environ["AT_ONCE"])


def batch_of(count):
    secret = "x" * int(os.environ["SECRET_BYTES"])
    return verifier_pb.BatchVerifyRequest(requests=[verifier_pb.VerifyRequest(secret=secret)] * count)


def code_of(work):
    try:
        work()
        return 0
    except grpc.RpcError as error:
        return error.code().value[0]


with grpc.insecure_channel(os.environ["ADDRESS"]) as channel:
    verifier = verifier_rpc.KeyVerifierStub(channel)
    watch = channel.unary_stream("/grpc.health.v1.Health/Watch")
    question = verifier_pb.VerifyRequest(secret=os.environ["TOKEN"])

    def name_of(answer):
        return verifier_pb.Verdict.Name(answer.verdict)

    seen = {"unary": name_of(verifier.Verify(question, metadata=METADATA, timeout=20))}
    large = verifier.BatchVerify(batch_of(int(os.environ["LARGE"])), metadata=METADATA, timeout=20)
    seen["large"] = len(large.responses)
    too_large = batch_of(int(os.environ["TOO_LARGE"]))
    seen["tooLarge"] = code_of(lambda: verifier.BatchVerify(too_large, metadata=METADATA, timeout=20))
    stream = watch(b"", timeout=20)
    seen["streamed"] = "SERVING" if next(stream) == SERVING else "another answer"
    stream.cancel()
    seen["canceled"] = code_of(lambda: next(stream))
    limited = watch(b"", timeout=int(os.environ["DEADLINE_MS"]) / 1000)
    seen["deadline"] = code_of(lambda: list(limited))

    valid = 0
    room = threading.Semaphore(AT_ONCE)

    def count(future):
        global valid
        valid += name_of(future.result()) == seen["unary"]
        room.release()

    for _ in range(CALLS):
        room.acquire()
        verifier.Verify.future(question, metadata=METADATA, timeout=60).add_done_callback(count)
    for _ in range(AT_ONCE):
        room.acquire()
    seen["calls"] = valid
    print(json.dumps(seen))

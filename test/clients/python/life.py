"""The life of a key, over generated code: ADDRESS and TOKEN in the environment, what was seen as JSON on stdout."""

import json
import os

import grpc
from claviger.v1 import key_management_pb2 as management_pb
from claviger.v1 import key_management_pb2_grpc as management_rpc
from claviger.v1 import key_pb2
from claviger.v1 import key_verifier_pb2 as verifier_pb
from claviger.v1 import key_verifier_pb2_grpc as verifier_rpc
from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2, status_pb2

OPTIONS = {"metadata": [("authorization", "Bearer " + os.environ["TOKEN"])], "timeout": 20}


def reason_of(error):
    metadata = dict(error.trailing_metadata())
    status = status_pb2.Status.FromString(metadata["grpc-status-details-bin"])
    info = error_details_pb2.ErrorInfo()
    status.details[0].Unpack(info)
    return info.reason


with grpc.insecure_channel(os.environ["ADDRESS"]) as channel:
    keys = management_rpc.KeyManagementStub(channel)
    verifier = verifier_rpc.KeyVerifierStub(channel)

    def verdict(secret):
        request = verifier_pb.VerifyRequest(secret=secret, required_scopes=["orders:read"])
        return verifier_pb.Verdict.Name(verifier.Verify(request, **OPTIONS).verdict)

    created = keys.CreateKey(
        management_pb.CreateKeyRequest(owner="foreign", display_name="life", scopes=["orders:*"]), **OPTIONS
    )
    seen = {"state": key_pb2.KeyState.Name(created.key.state), "created": verdict(created.secret)}
    rotated = keys.RotateKey(
        management_pb.RotateKeyRequest(key_id=created.key.id, grace_period=Duration(seconds=0)), **OPTIONS
    )
    seen["rotated"] = [verdict(created.secret), verdict(rotated.secret)]
    keys.RevokeKey(management_pb.RevokeKeyRequest(key_id=created.key.id), **OPTIONS)
    seen["revoked"] = [verdict(created.secret), verdict(rotated.secret)]
    try:
        keys.RotateKey(management_pb.RotateKeyRequest(key_id=created.key.id), **OPTIONS)
    except grpc.RpcError as error:
        seen["refusal"] = [error.code().name, reason_of(error)]
print(json.dumps(seen))

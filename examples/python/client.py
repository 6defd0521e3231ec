"""Calls a protected service with a key from Python, and says why it was refused.

In a virtual environment with grpcio and grpcio-tools:

  npx buf build -o protos.binpb
  python3 -c 'import sys; from grpc_tools.protoc import main; sys.exit(main(sys.argv))' \
    --descriptor_set_in=protos.binpb --python_out=python --grpc_python_out=python \
    example/v1/agent.proto claviger/v1/options.proto google/rpc/status.proto google/rpc/error_details.proto
  KEY=clv_live_... python3 python/client.py 127.0.0.1:8083
"""

import os
import sys

import grpc
from example.v1 import agent_pb2 as pb
from example.v1 import agent_pb2_grpc as rpc
from google.rpc import error_details_pb2, status_pb2


def error_info(error):
    """Why a call was refused: google.rpc.ErrorInfo, in the trailer that gRPC has for details."""
    info = error_details_pb2.ErrorInfo()
    for name, value in error.trailing_metadata():
        if name == "grpc-status-details-bin":
            for detail in status_pb2.Status.FromString(value).details:
                detail.Unpack(info)
    return info


def say(method, request, metadata):
    """Calls a method, and says what came of it."""
    name = type(request).__name__.replace("Request", "")
    try:
        print(f"{name}: {method(request, metadata=metadata, timeout=5)}".rstrip())
    except grpc.RpcError as error:
        info = error_info(error)
        print(f"{name}: {error.code().name} {info.reason} {info.metadata.get('verdict', '')}".rstrip())


key = [("authorization", "Bearer " + os.environ["KEY"])]
with grpc.insecure_channel(sys.argv[1]) as channel:
    agent = rpc.AgentStub(channel)
    say(agent.Ask, pb.AskRequest(question="why?"), key)
    say(agent.Teach, pb.TeachRequest(fact="because"), key)
    say(agent.Ask, pb.AskRequest(question="why?"), [])

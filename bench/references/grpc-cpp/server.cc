// An empty unary gRPC server, for comparison. Prints its address.
#include <grpcpp/generic/async_generic_service.h>
#include <grpcpp/grpcpp.h>

#include <iostream>
#include <memory>

// Reads one message and answers with an empty one.
class Empty final : public grpc::ServerGenericBidiReactor {
 public:
  Empty() {
    grpc::Slice nothing;
    answer_ = grpc::ByteBuffer(&nothing, 1);
    StartRead(&request_);
  }

  void OnReadDone(bool) override { StartWriteAndFinish(&answer_, grpc::WriteOptions(), grpc::Status::OK); }

  void OnDone() override { delete this; }

 private:
  grpc::ByteBuffer request_;
  grpc::ByteBuffer answer_;
};

class Service final : public grpc::CallbackGenericService {
  grpc::ServerGenericBidiReactor* CreateReactor(grpc::GenericCallbackServerContext*) override { return new Empty; }
};

int main() {
  Service service;
  grpc::ServerBuilder builder;
  int port = 0;
  builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
  builder.RegisterCallbackGenericService(&service);
  const std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
  std::cout << "listening on http://127.0.0.1:" << port << std::endl;
  server->Wait();
}

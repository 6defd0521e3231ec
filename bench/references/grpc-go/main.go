// An empty unary gRPC server, for comparison. Prints its address.
package main

import (
	"context"
	"fmt"
	"log"
	"net"

	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
)

// Messages stay bytes.
type raw struct{}

func (raw) Marshal(any) (mem.BufferSlice, error) { return mem.BufferSlice{}, nil }

func (raw) Unmarshal(mem.BufferSlice, any) error { return nil }

func (raw) Name() string { return "proto" }

func verify(_ any, _ context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
	return struct{}{}, decode(nil)
}

func main() {
	encoding.RegisterCodecV2(raw{})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	server := grpc.NewServer()
	server.RegisterService(&grpc.ServiceDesc{
		ServiceName: "claviger.v1.KeyVerifier",
		HandlerType: (*any)(nil),
		Methods:     []grpc.MethodDesc{{MethodName: "Verify", Handler: verify}},
	}, struct{}{})
	fmt.Printf("listening on http://%s\n", listener.Addr())
	log.Fatal(server.Serve(listener))
}

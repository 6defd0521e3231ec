// Runs one case of gRPC's interop client against ADDRESS (host:port, cleartext). It calls the functions of grpc-go that
// google.golang.org/grpc/interop/client calls; that program itself links xDS, which takes a minute to compile.
package main

import (
	"context"
	"log"
	"os"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/interop"
	pb "google.golang.org/grpc/interop/grpc_testing"
)

const largeRequest, largeResponse = 271828, 314159

func connect() *grpc.ClientConn {
	connection, err := grpc.NewClient(os.Getenv("ADDRESS"), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		log.Fatal(err)
	}
	return connection
}

func soak(ctx context.Context, channel func() (*grpc.ClientConn, func())) {
	interop.DoSoakTest(ctx, interop.SoakTestConfig{
		RequestSize: largeRequest, ResponseSize: largeResponse, Iterations: 200, NumWorkers: 4,
		PerIterationMaxAcceptableLatency: time.Minute, OverallTimeout: 2 * time.Minute,
		ServerAddr: os.Getenv("ADDRESS"), ChannelForTest: channel,
	})
}

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	connection := connect()
	defer connection.Close()
	client := pb.NewTestServiceClient(connection)
	cases := map[string]func(){
		"empty_unary":                 func() { interop.DoEmptyUnaryCall(ctx, client) },
		"large_unary":                 func() { interop.DoLargeUnaryCall(ctx, client) },
		"client_streaming":            func() { interop.DoClientStreaming(ctx, client) },
		"server_streaming":            func() { interop.DoServerStreaming(ctx, client) },
		"ping_pong":                   func() { interop.DoPingPong(ctx, client) },
		"empty_stream":                func() { interop.DoEmptyStream(ctx, client) },
		"timeout_on_sleeping_server":  func() { interop.DoTimeoutOnSleepingServer(ctx, client) },
		"cancel_after_begin":          func() { interop.DoCancelAfterBegin(ctx, client) },
		"cancel_after_first_response": func() { interop.DoCancelAfterFirstResponse(ctx, client) },
		"status_code_and_message":     func() { interop.DoStatusCodeAndMessage(ctx, client) },
		"special_status_message":      func() { interop.DoSpecialStatusMessage(ctx, client) },
		"custom_metadata":             func() { interop.DoCustomMetadata(ctx, client) },
		"unimplemented_method":        func() { interop.DoUnimplementedMethod(ctx, connection) },
		"unimplemented_service":       func() { interop.DoUnimplementedService(ctx, pb.NewUnimplementedServiceClient(connection)) },
		"rpc_soak":                    func() { soak(ctx, func() (*grpc.ClientConn, func()) { return connection, func() {} }) },
		"channel_soak": func() {
			soak(ctx, func() (*grpc.ClientConn, func()) { own := connect(); return own, func() { own.Close() } })
		},
	}
	run := cases[os.Args[1]]
	if run == nil {
		log.Fatalf("no case %q", os.Args[1])
	}
	run()
}

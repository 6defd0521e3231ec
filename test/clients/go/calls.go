package main

import (
	"context"
	"encoding/json"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	health "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	pb "example/gen/claviger/v1"
)

func numberOf(name string) int {
	number, err := strconv.Atoi(os.Getenv(name))
	must(err)
	return number
}

// Calls of every kind, then many on the same connection: what was seen as JSON on stdout.
func calls(ctx context.Context, connection *grpc.ClientConn) {
	verifier, watcher := pb.NewKeyVerifierClient(connection), health.NewHealthClient(connection)
	verdict := func() string {
		answer, err := verifier.Verify(ctx, &pb.VerifyRequest{Secret: os.Getenv("TOKEN")})
		must(err)
		return answer.Verdict.String()
	}
	batch := func(count int) (*pb.BatchVerifyResponse, error) {
		request := &pb.BatchVerifyRequest{}
		for range count {
			request.Requests = append(request.Requests, &pb.VerifyRequest{Secret: strings.Repeat("x", numberOf("SECRET_BYTES"))})
		}
		return verifier.BatchVerify(ctx, request)
	}
	// The first message of a stream that goes on, and the code of its end.
	watch := func(ctx context.Context, onFirst func()) (string, int) {
		stream, err := watcher.Watch(ctx, &health.HealthCheckRequest{})
		must(err)
		first, err := stream.Recv()
		must(err)
		onFirst()
		_, err = stream.Recv()
		return first.Status.String(), int(status.Code(err))
	}

	seen := map[string]any{"unary": verdict()}
	large, err := batch(numberOf("LARGE"))
	must(err)
	seen["large"] = len(large.Responses)
	_, err = batch(numberOf("TOO_LARGE"))
	seen["tooLarge"] = int(status.Code(err))
	left, cancel := context.WithCancel(ctx)
	seen["streamed"], seen["canceled"] = watch(left, cancel)
	limited, cancelLimited := context.WithTimeout(ctx, time.Duration(numberOf("DEADLINE_MS"))*time.Millisecond)
	defer cancelLimited()
	_, seen["deadline"] = watch(limited, func() {})

	var begun, valid atomic.Int64
	var callers sync.WaitGroup
	for range numberOf("AT_ONCE") {
		callers.Go(func() {
			for begun.Add(1) <= int64(numberOf("CALLS")) {
				if verdict() == seen["unary"] {
					valid.Add(1)
				}
			}
		})
	}
	callers.Wait()
	seen["calls"] = valid.Load()
	must(json.NewEncoder(os.Stdout).Encode(seen))
}

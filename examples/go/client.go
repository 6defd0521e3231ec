// Calls a protected service with a key from Go, and says why it was refused.
//
// Needs protoc-gen-go and protoc-gen-go-grpc. In the folder above:
//
//	npx buf generate --template go/buf.gen.yaml --path proto/example -o go
//	cd go && go mod init example && go mod tidy
//	KEY=clv_live_... go run client.go 127.0.0.1:8083
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	pb "example/gen/example/v1"
)

// Why a call was refused: google.rpc.ErrorInfo, among the details of the status.
func errorInfo(err error) *errdetails.ErrorInfo {
	for _, detail := range status.Convert(err).Details() {
		if info, ok := detail.(*errdetails.ErrorInfo); ok {
			return info
		}
	}
	return &errdetails.ErrorInfo{}
}

// What came of a call.
func say(method string, answer fmt.Stringer, err error) {
	if err != nil {
		info := errorInfo(err)
		fmt.Println(method+":", status.Code(err), info.Reason, info.Metadata["verdict"])
		return
	}
	fmt.Println(method+":", answer)
}

func main() {
	connection, err := grpc.NewClient(os.Args[1], grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		log.Fatal(err)
	}
	defer connection.Close()
	agent := pb.NewAgentClient(connection)

	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	withKey := metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+os.Getenv("KEY"))

	answer, err := agent.Ask(withKey, &pb.AskRequest{Question: "why?"})
	say("Ask", answer, err)
	taught, err := agent.Teach(withKey, &pb.TeachRequest{Fact: "because"})
	say("Teach", taught, err)
	answer, err = agent.Ask(ctx, &pb.AskRequest{Question: "why?"})
	say("Ask", answer, err)
}

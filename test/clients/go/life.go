// A client of generated code: ADDRESS and TOKEN in the environment, what was seen as JSON on stdout. Its argument is `life`,
// the life of a key, or `calls`.
package main

import (
	"context"
	"encoding/json"
	"log"
	"os"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	pb "example/gen/claviger/v1"
)

func must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func reasonOf(err error) string {
	for _, detail := range status.Convert(err).Details() {
		if info, ok := detail.(*errdetails.ErrorInfo); ok {
			return info.Reason
		}
	}
	return ""
}

func main() {
	connection, err := grpc.NewClient(os.Getenv("ADDRESS"), grpc.WithTransportCredentials(insecure.NewCredentials()))
	must(err)
	defer connection.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+os.Getenv("TOKEN"))
	if os.Args[1] == "calls" {
		calls(ctx, connection)
		return
	}
	keys, verifier := pb.NewKeyManagementClient(connection), pb.NewKeyVerifierClient(connection)

	verdict := func(secret string) string {
		answer, err := verifier.Verify(ctx, &pb.VerifyRequest{Secret: secret, RequiredScopes: []string{"orders:read"}})
		must(err)
		return answer.Verdict.String()
	}

	created, err := keys.CreateKey(ctx, &pb.CreateKeyRequest{Owner: "foreign", DisplayName: "life", Scopes: []string{"orders:*"}})
	must(err)
	seen := map[string]any{"state": created.Key.State.String(), "created": verdict(created.Secret)}
	rotated, err := keys.RotateKey(ctx, &pb.RotateKeyRequest{KeyId: created.Key.Id, GracePeriod: durationpb.New(0)})
	must(err)
	seen["rotated"] = []string{verdict(created.Secret), verdict(rotated.Secret)}
	_, err = keys.RevokeKey(ctx, &pb.RevokeKeyRequest{KeyId: created.Key.Id})
	must(err)
	seen["revoked"] = []string{verdict(created.Secret), verdict(rotated.Secret)}
	_, err = keys.RotateKey(ctx, &pb.RotateKeyRequest{KeyId: created.Key.Id})
	seen["refusal"] = []string{status.Code(err).String(), reasonOf(err)}
	must(json.NewEncoder(os.Stdout).Encode(seen))
}

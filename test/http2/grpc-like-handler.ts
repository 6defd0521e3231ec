import type { HttpHandler } from "../../src/transport/http/exchange.ts";

/** Reads a request to its end, and answers as gRPC does: with the same body, and a status in the trailers. */
export const answerLikeGrpc: HttpHandler = (exchange) => {
  const pieces: Buffer[] = [];
  exchange.listen({
    piece: (bytes) => void pieces.push(bytes),
    failed: () => undefined,
    ended() {
      exchange.respond(200, [["content-type", "application/grpc+proto"]], false);
      exchange.write(Buffer.concat(pieces));
      exchange.end([["grpc-status", "0"]]);
    },
  });
};

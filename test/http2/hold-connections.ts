/**
 * Opens as many connections of HTTP/2 to a port of this machine as its arguments say, and leaves them idle:
 * `hold-connections.ts <port> <count>`. Writes a line once all were opened, and to each line that it reads a line with the
 * number that are still open. Ends with its standard input.
 */
import { once } from "node:events";
import { connect } from "node:net";
import { createInterface } from "node:readline";
import { greeting } from "../../testkit/http2-frames.ts";

const AT_ONCE = 100;
const [port = 0, count = 0] = process.argv.slice(2).map(Number);
let open = 0;

async function hold(): Promise<void> {
  const socket = connect({ host: "127.0.0.1", port });
  socket
    .on("error", () => undefined)
    .on("close", () => {
      open -= 1;
    });
  open += 1;
  await once(socket.resume(), "connect");
  socket.write(greeting());
}

for (let begun = 0; begun < count; begun += AT_ONCE) {
  await Promise.all(Array.from({ length: Math.min(AT_ONCE, count - begun) }, hold));
}
console.log("all were opened");
for await (const _ of createInterface({ input: process.stdin })) console.log(open);
process.exit(0);

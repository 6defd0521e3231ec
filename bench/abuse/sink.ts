/** Takes whatever comes and makes nothing of it: what an abuser costs by itself. */
import { createServer } from "node:net";

const server = createServer((socket) => {
  socket.on("data", () => socket.write("x")).on("error", () => undefined);
});
server.listen(0, "127.0.0.1", () => {
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("not a TCP port");
  console.log(`listening on http://127.0.0.1:${address.port}`);
});
